"""A recipe file -> what it declares.

Enters: a YAML file, the files that it extends, and `--set` overrides, which come last. Leaves: a
frozen `Recipe`, or one ConfigError that lists every problem with its place.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.compose import extended
from pipeline.config.overrides import apply, read_overrides
from pipeline.config.recipe import RECIPE, Recipe
from pipeline.config.yaml_nodes import Problems, parse_yaml
from pipeline.core.bundled import recipe_path
from pipeline.core.errors import ConfigError


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a file, or the shipped one of a name, with `key=value` overrides.

    Raises: ConfigError, with a line for every problem, files first and in their order.
    """
    path = recipe_path(str(path_or_name))
    problems = Problems()
    written = parse_yaml(_read(path), str(path), problems)
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
        raise ConfigError(f"{path}: got no file ({reason}), expected a recipe file") from error
