"""Mixtures, manifests and recipes that ship with the package, found by name from any folder."""

from difflib import get_close_matches
from pathlib import Path

from pipeline.core.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
# Of more names than these, those that are most like the one that was given are told.
_MOST_TOLD = 10
_NEAREST = 4


def mixture_path(name: str) -> Path:
    """Return the path that `name` is, or the shipped mixture that it names."""
    return _find(name, "mixtures", ".yaml")


def manifest_path(name: str) -> Path:
    """Return the path that `name` is, or the shipped manifest that it names."""
    return _find(name, "manifests", ".json")


def recipe_path(name: str) -> Path:
    """Return the path that `name` is, or the shipped recipe that it names."""
    return _find(name, "recipes", ".yaml")


def _find(name: str, kind: str, suffix: str) -> Path:
    path = Path(name)
    if path.is_file() or path.suffix or len(path.parts) != 1:
        return path
    folder = _folder(kind)
    if (folder / f"{name}{suffix}").is_file():
        return folder / f"{name}{suffix}"
    known = sorted(path.stem for path in folder.glob(f"*{suffix}"))
    raise ConfigError(
        f'"{name}": got neither a file nor one of the shipped {kind}: {_told(name, known)}',
        f"give the path of a {suffix} file, or a name that ships",
    )


def _told(name: str, known: list[str]) -> str:
    """Return the known names, or some of them, and the one that was meant."""
    near = get_close_matches(name, known, n=1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    if len(known) <= _MOST_TOLD:
        return ", ".join(known) + meant
    told = get_close_matches(name, known, n=_NEAREST, cutoff=0)
    return f"{', '.join(told)} and {len(known) - len(told)} more{meant}"


def _folder(kind: str) -> Path:
    # In a wheel the folders lie inside the package; in a checkout, beside it.
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind
