"""Mixtures, manifests and recipes that ship with the package, found by name from any folder."""

from pathlib import Path

from pipeline.errors import MixtureError

_PACKAGE = Path(__file__).resolve().parent


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
    known = ", ".join(sorted(path.stem for path in folder.glob(f"*{suffix}")))
    raise MixtureError(
        f'"{name}": got neither a file nor one of the shipped {kind}: {known}',
        f"give the path of a {suffix} file, or one of those names",
    )


def _folder(kind: str) -> Path:
    # In a wheel the folders lie inside the package; in a checkout, beside it.
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind
