"""Reading a `tokenizer.json`, and recognising ModernBERT's."""

import json
import lzma
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.core.digest import fingerprint, sha256_bytes
from pipeline.core.errors import ConfigError, InputError, InternalError, NetworkError, causes_of
from pipeline.core.regular_file import read_file

EMBEDDED = "modernbert"
MODERNBERT_SHA256 = "9fd55248d51d33976b324fc11592e28071da7d41e0e9401dfb7082e30574b7b1"
# Fingerprint of `_essence` of that file.
MODERNBERT_FINGERPRINT = "48cbb49d7f89f9e4efbac5ccdb0bd5f29166f83b0166807bedbb863f494fff53"
MODERNBERT_FILE = Path(__file__).with_name("modernbert.json.xz")

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Names of errors, since the HTTP library of the Hub's own differs between its versions.
_UNREACHABLE = re.compile("Connect|Timeout|gaierror")


def read_json(name: str, revision: str | None = None, folder: Path | None = None) -> bytes:
    """Return the bytes of a `tokenizer.json`.

    name: "modernbert" (embedded), a path relative to `folder`, or a Hub id, which alone takes a
    `revision`, a commit of 40 digits.

    Raises: ConfigError for any other name or revision; InputError if the file cannot be read,
    NetworkError if the Hub cannot be reached.
    """
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


@cache
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
        return read_file(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a readable file") from error


def latest_commit(name: str) -> str:
    """Return the latest commit of a repository on the Hub. Raises: InputError, ConfigError."""
    with _asking_hub(name, f"{name}: cannot be looked up", "check the name"):
        from huggingface_hub import HfApi

        commit = HfApi().model_info(name).sha
    assert commit is not None
    return commit


def _fetch(name: str, revision: str) -> Path:
    failed = f"{name}@{revision}: cannot fetch tokenizer.json"
    with _asking_hub(name, failed, "check the name and the commit"):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(name, "tokenizer.json", revision=revision))


@contextmanager
def _asking_hub(name: str, failed: str, check: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{name}: got a Hub id, expected huggingface_hub to be installed for it",
            hint="pip install 'ettin-data[hub]', or name the path of a tokenizer.json",
        ) from error
    except Exception as error:  # Network, access and absence raise many types.
        if any(_UNREACHABLE.search(type(one).__name__) for one in causes_of(error)):
            raise NetworkError(f"{failed}: {error}", "run the same command later") from error
        hint = f"{check}; a gated repository needs a token (hf auth login)"
        raise InputError(f"{failed}: {error}", hint) from error


def is_modernbert(data: bytes) -> bool:
    """Return whether a `tokenizer.json` tokenizes exactly like the published ModernBERT file."""
    if sha256_bytes(data) == MODERNBERT_SHA256:
        return True
    try:
        return fingerprint(_essence(json.loads(data))) == MODERNBERT_FINGERPRINT
    except (TypeError, KeyError, AttributeError):  # Another schema, so another tokenizer.
        return False


def _essence(content: dict[str, Any]) -> dict[str, Any]:
    """Drop what does not change ids or is overridden; write merges as `left right`."""
    merges = [m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]]
    splitter = {k: v for k, v in content["pre_tokenizer"].items() if k != "add_prefix_space"}
    return {
        **{k: v for k, v in content.items() if k not in ("truncation", "padding")},
        "model": {**content["model"], "merges": merges},
        "pre_tokenizer": splitter,
    }
