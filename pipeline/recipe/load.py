"""A recipe file -> what it declares.

Enters: a YAML file, the files that it extends, and `--set` overrides, which come last. Leaves: a
frozen `Recipe`, or one MixtureError that lists every problem with its place.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import MixtureError
from pipeline.mixture.compose import extended
from pipeline.mixture.document import Problems, read_file
from pipeline.mixture.overrides import apply, read_overrides
from pipeline.recipe.values import RECIPE, Recipe
from pipeline.shipped import recipe_path


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a file, or the shipped one of a name, with `key=value` overrides.

    Raises: MixtureError, with a line for every problem, files first and in their order.
    """
    path = recipe_path(str(path_or_name))
    problems = Problems()
    written = read_file(_read(path), str(path), problems)
    root = None if written is None else extended(written, path, problems)
    settings = read_overrides(overrides, problems)
    recipe = None
    if root is not None:
        if root.kind == "mapping":
            root = apply(root, settings, problems)
        recorded = tuple(str(setting) for setting in sorted(settings, key=lambda one: one.key))
        recipe = RECIPE.check(root, "", problems, overrides=recorded)
    problems.refuse()
    assert isinstance(recipe, Recipe)
    return recipe


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MixtureError(f"{path}: got no file ({reason}), expected a recipe file") from error
