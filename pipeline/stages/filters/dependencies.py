"""The packages and files that filters depend on, for fingerprints of tasks and the manifest."""

import unicodedata
from functools import lru_cache
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Final

from pipeline.config import Filter
from pipeline.core.digest import sha256_file
from pipeline.core.errors import ConfigError
from pipeline.stages.filters.datatrove_filters import check_language
from pipeline.stages.filters.own_code import find_code
from pipeline.stages.filters.url import LISTS

# spaCy splits words and sentences, tldextract ships the suffixes of domains.
_PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "length": (),
    "regex": (),
    "gopher_quality": ("datatrove", "regex", "spacy"),
    "gopher_repetition": ("datatrove", "regex", "spacy"),
    "c4_quality": ("datatrove", "regex", "spacy"),
    "fineweb_quality": ("datatrove", "regex", "spacy"),
    "language": ("datatrove", "fasteners", "fasttext-numpy2-wheel"),
    "url": ("datatrove", "fasteners", "pyahocorasick", "tldextract"),
    "pii": ("datatrove",),
    "python": (),
    "datatrove": ("datatrove", "spacy"),
}
_OURS: Final = frozenset(chain.from_iterable(_PACKAGES.values()))
# datatrove imports these, but no verdict depends on them.
_ONLY_IMPORTED: Final = frozenset({"fasteners", "regex"})
_FILES: Final = {"language": ("model",), "url": LISTS}
_HINTS: Final = {
    "model": "fetch the model, such as lid.176.bin of fastText, and name its path in the mixture"
}


def identify(specs: tuple[Filter, ...], folder: Path) -> dict[str, str]:
    """Return versions and digests by name: all that verdicts depend on beyond `specs`.

    They include Python's Unicode tables, which define letters and white space. Paths are relative
    to `folder`. Raises: ConfigError for a missing package or file, or an unsupported language.
    """
    found = {"unicode": unicodedata.unidata_version} if specs else {}
    for index, spec in enumerate(specs):
        for package in _PACKAGES[spec.name]:
            version = _version(spec.name, package)
            if package not in _ONLY_IMPORTED:
                found[package] = version
        if spec.is_code:
            found |= _identify_code(index, spec, folder)
        if hasattr(spec.options, "language"):
            check_language(spec.name, spec.options.language)
        for option in _FILES.get(spec.name, ()):
            path = getattr(spec.options, option)
            if path is not None:
                found[f"{index}/{spec.name}/{option}"] = _digest(spec.name, option, folder / path)
    return dict(sorted(found.items()))


def _identify_code(index: int, spec: Filter, folder: Path) -> dict[str, str]:
    """Return the digest of a mixture's own code, and what the mixture says that it depends on."""
    options = spec.options
    found = {package: _version(spec.label, package) for package in options.packages}
    if (code := find_code(options, folder)) is not None:
        found[f"{index}/{spec.name}/{code.package}"] = code.sha256
    for path in options.files:
        found[f"{index}/{spec.name}/files/{path}"] = _digest(spec.label, "files", folder / path)
    return found


@lru_cache
def _version(name: str, package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"filters: {name} needs the package {package}, which is not installed",
            "pip install 'ettin-data[filters]'" if package in _OURS else f"pip install {package}",
            guide="docs/guide/filters.md#filters",
        ) from error


def _digest(name: str, option: str, path: Path) -> str:
    try:
        state = path.stat()
        return _digest_of(path, state.st_ino, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ConfigError(
            f"filters: {name}.{option}: {path}: got no file ({error.strerror}), expected one",
            _HINTS.get(option),
            guide="docs/guide/filters.md#options",
        ) from error


@lru_cache(maxsize=64)
def _digest_of(path: Path, *state: int) -> str:
    """Read a file once per process, and again after a change: models are large."""
    return sha256_file(path)
