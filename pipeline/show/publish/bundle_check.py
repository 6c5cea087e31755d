"""Check: a bundle -> every way in which it is not what was written, one line each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.config import load_config
from pipeline.core.digest import FileDigest
from pipeline.core.errors import MismatchError, PipelineError
from pipeline.core.json_record import parse_json, to_json
from pipeline.core.limits import num_cores
from pipeline.core.regular_file import read_file
from pipeline.core.shown import printable
from pipeline.dataset import MANIFEST, Manifest, read_manifest
from pipeline.show.publish.bundle_record import (
    BUNDLE,
    CARD,
    CITATION,
    CROISSANT,
    LEDGER,
    LOCK,
    MIXTURE,
    BundleRecord,
    read_record,
    unknown_paths,
)
from pipeline.show.publish.croissant import validate_croissant
from pipeline.show.publish.sign import SIGNATURE, check_signature
from pipeline.sources import lock_digest, read_lock

_CITED: Final = ("cff-version", "message", "title", "authors")


def check_bundle(folder: Path, key: Path | None) -> list[str]:
    """Return a line for each mismatch. `key`: the public key that the signature must be of.

    Raises: InputError where there is no bundle; ConfigError for what is no public key.
    """
    try:
        record = read_record(folder)
    except MismatchError as error:
        return [error.message]
    complaints = [*check_files(folder, record), *_check_signature(folder, key)]
    return complaints or check_content(folder, record)


def check_files(folder: Path, record: BundleRecord) -> list[str]:
    """Return a line for each file that is not the record's, is missing, or is not in it."""
    expected = record.files
    try:
        unknown = unknown_paths(folder, record)
    except OSError as error:
        return [f"{printable(str(error.filename))}: cannot be read: {error.strerror}"]

    def check(name: str) -> str | None:
        return _check_file(folder / name, name, expected[name])

    with ThreadPoolExecutor(num_cores()) as pool:
        complaints = list(filter(None, pool.map(check, sorted(expected))))
    return complaints + [f"{printable(name)}: is not in {BUNDLE}" for name in unknown]


def _check_file(path: Path, name: str, expected: FileDigest) -> str | None:
    try:
        if path.is_symlink():
            return f"{name}: is a link, expected a file"
        if not path.is_file():
            return f"{name}: is missing"
        if (num_bytes := path.stat().st_size) != expected.num_bytes:
            return f"{name}: has {num_bytes} bytes, {BUNDLE} says {expected.num_bytes}"
        if (found := FileDigest.of(path)) != expected:
            return f"{name}: sha256 is {found.sha256}, {BUNDLE} says {expected.sha256}"
    except OSError as error:
        return f"{name}: cannot be read: {error.strerror}"
    return None


def _check_signature(folder: Path, key: Path | None) -> Iterator[str]:
    is_signed = (folder / SIGNATURE).is_file()
    if key is None:
        if is_signed:
            yield f"{SIGNATURE}: got no key, expected the signer's public key: --key FILE"
        return
    if not is_signed:
        yield f"{SIGNATURE}: is missing: the bundle is not signed"
        return
    try:
        check_signature(folder, key)
    except MismatchError as error:
        yield error.message


def check_content(folder: Path, record: BundleRecord) -> list[str]:
    """Return a line for each file of a whole bundle that contradicts another, or its own format."""
    try:
        manifest = read_manifest(folder / MANIFEST)
    except MismatchError as error:
        return [error.message.removeprefix(f"{folder}/")]
    return [
        *_check_manifest(folder, manifest, record),
        *_check_mixture(folder, manifest),
        *_check_lock(folder, manifest),
        *_check_texts(folder),
    ]


def _check_manifest(folder: Path, manifest: Manifest, record: BundleRecord) -> Iterator[str]:
    digest = parse_json(read_file(folder / MANIFEST))["digest"]
    if digest != record.manifest:
        yield f"{MANIFEST}: has digest {digest}, {BUNDLE} says {record.manifest}"
    for name in sorted(record.files.keys() & manifest.files.keys()):
        if record.files[name] != manifest.files[name]:
            yield (
                f"{name}: sha256 is {record.files[name].sha256}, {MANIFEST} says"
                f" {manifest.files[name].sha256}"
            )
    if parse_json(read_file(folder / LEDGER)) != to_json(manifest.order.ledger):
        yield f"{LEDGER}: is not the ledger of {MANIFEST}"


def _check_mixture(folder: Path, manifest: Manifest) -> Iterator[str]:
    try:
        found = load_config(folder / MIXTURE).fingerprint
    except PipelineError:
        # Of a replay without its pool, or of what is held out, it is no mixture by itself.
        return
    if found != manifest.mixture.fingerprint:
        expected = manifest.mixture.fingerprint
        yield f"{MIXTURE}: has the fingerprint {found}, {MANIFEST} says {expected}"


def _check_lock(folder: Path, manifest: Manifest) -> Iterator[str]:
    if manifest.lock is None:
        return
    try:
        found = lock_digest(read_lock(folder / LOCK))
    except PipelineError as error:
        yield error.message.removeprefix(f"{folder}/")
        return
    if found != manifest.lock:
        yield f"{LOCK}: has digest {found}, {MANIFEST} says {manifest.lock}"


def _check_texts(folder: Path) -> Iterator[str]:
    if (reason := validate_croissant(folder / CROISSANT)) is not None:
        yield f"{CROISSANT}: is refused by mlcroissant: {reason}"
    if (reason := _refused_card(folder / CARD)) is not None:
        yield f"{CARD}: has no front matter that the Hub reads: {reason}"
    try:
        cited: Any = yaml.safe_load(read_file(folder / CITATION))
        missing = [name for name in _CITED if not cited.get(name)]
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        yield f"{CITATION}: is not YAML: {' '.join(str(error).split())}"
        return
    if missing:
        yield f"{CITATION}: got no {', '.join(missing)}"


def _refused_card(path: Path) -> str | None:
    from huggingface_hub import DatasetCard

    try:
        card = DatasetCard(read_file(path).decode())
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        return " ".join(str(error).split())[:300]
    return None if card.data.get("pretty_name") else "it has no pretty_name"
