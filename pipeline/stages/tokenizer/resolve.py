"""Find a tokenizer by name and pin it by its bytes.

Enters: "modernbert" (embedded, no network), a path to a `tokenizer.json`, or a Hub id with the
commit that it is read at. Leaves: a Tokenizer. Invariant: its `digest` is the sha256 of the
`tokenizer.json`, so equal digests mean equal ids, whatever the name.
"""

import lzma
import re
from pathlib import Path

from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, InputError, InternalError
from pipeline.stages.tokenizer.encode import Tokenizer
from pipeline.stages.tokenizer.family import MODERNBERT_SHA256

EMBEDDED = "modernbert"
MODERNBERT_FILE = Path(__file__).with_name("modernbert.json.xz")

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def load_tokenizer(
    name: str,
    *,
    add_prefix_space: bool,
    revision: str | None = None,
    folder: Path | None = None,
) -> Tokenizer:
    """Load a tokenizer; a path is relative to `folder`, a Hub id needs a 40-digit `revision`.

    Raises: ConfigError if the name is none of the three, or the revision is missing or may move;
    InputError if the file cannot be read or used.
    """
    return Tokenizer(name, read_json(name, revision, folder), add_prefix_space)


def read_json(name: str, revision: str | None = None, folder: Path | None = None) -> bytes:
    """Return the bytes of the `tokenizer.json` that `name` stands for. Raises: as `load`."""
    if name == EMBEDDED:
        return _read_embedded()
    path = Path(name) if folder is None else folder / name
    if name.endswith(".json") or path.is_file():
        if revision is not None:
            raise ConfigError(f"{name}: got revision {revision}, expected none for a file")
        return _read(path)
    if _HUB_ID.fullmatch(name) is None:
        raise ConfigError(
            f"{name}: got no known tokenizer, expected {EMBEDDED!r}, a path to a tokenizer.json or"
            " a Hub id like org/name"
        )
    if revision is None or _COMMIT.fullmatch(revision) is None:
        raise ConfigError(
            f"{name}: got revision {revision}, expected a commit of 40 hex digits",
            hint="branches and tags move; take the commit from the repository's history",
        )
    return _read(_fetch(name, revision))


def _read_embedded() -> bytes:
    data = lzma.decompress(_read(MODERNBERT_FILE))
    if sha256_bytes(data) != MODERNBERT_SHA256:
        raise InternalError(
            f"{MODERNBERT_FILE}: sha256 is {sha256_bytes(data)}, expected {MODERNBERT_SHA256}",
            hint="install the package again",
        )
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a readable file") from error


def _fetch(name: str, revision: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ConfigError(
            f"{name}: got a Hub id, expected huggingface_hub to be installed for it",
            hint="pip install 'ettin-data[hub]', or name the path of a tokenizer.json",
        ) from error
    try:
        return Path(hf_hub_download(name, "tokenizer.json", revision=revision))
    except Exception as error:  # Network, access and absence have many types there.
        raise InputError(
            f"{name}@{revision}: cannot fetch tokenizer.json: {error}",
            hint="check the name and the commit; a gated repository wants a token (hf auth login)",
        ) from error
