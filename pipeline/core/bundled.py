"""Mixtures, manifests and recipes that ship with the package, found by name from any folder."""

from difflib import get_close_matches
from pathlib import Path

from pipeline.core.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
# Of more names than these, a message lists only the nearest.
_MOST_LISTED = 10
_NEAREST = 4


def mixture_path(name: str) -> Path:
    """Return the path that `name` is, or the shipped mixture of that name."""
    return _find(name, "mixtures", ".yaml")


def manifest_path(name: str) -> Path:
    """Return the path that `name` is, or the shipped manifest of that name."""
    return _find(name, "manifests", ".json")


def recipe_path(name: str) -> Path:
    """Return the path that `name` is, or the shipped recipe of that name."""
    return _find(name, "recipes", ".yaml")


def package_folder() -> Path:
    """Return the folder of this package's modules."""
    return _PACKAGE


def bundled_folder(kind: str) -> Path:
    """Return the folder of what ships of a kind: inside the package in a wheel, or beside it."""
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def bundled_names(kind: str, suffix: str) -> list[str]:
    """Return the names of what ships of a kind, sorted."""
    return sorted(path.stem for path in bundled_folder(kind).glob(f"*{suffix}"))


def _find(name: str, kind: str, suffix: str) -> Path:
    path = Path(name)
    if "://" in name:
        raise ConfigError(
            f"{name}: got an address, expected the path of a {suffix} file, or a name that ships",
            "fetch the file, and name its path",
        )
    if path.is_file() or path.suffix or len(path.parts) != 1:
        return path
    folder = bundled_folder(kind)
    if (folder / f"{name}{suffix}").is_file():
        return folder / f"{name}{suffix}"
    known = bundled_names(kind, suffix)
    listed = known
    if len(known) > _MOST_LISTED:
        listed = get_close_matches(name, known, n=_NEAREST, cutoff=0)
    more = f" and {len(known) - len(listed)} more" if len(listed) < len(known) else ""
    near = get_close_matches(name, known, n=1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    raise ConfigError(
        f'"{name}": got neither a file nor one of the shipped {kind}: '
        f"{', '.join(listed)}{more}{meant}",
        f"give the path of a {suffix} file, or a name that ships",
    )
