"""Load a mixture, replay or recipe: a YAML file, the files it extends, then `--set` overrides."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pipeline.config.compose import compose, extend
from pipeline.config.mixture import Mixture
from pipeline.config.overrides import apply, read_overrides
from pipeline.config.recipe import Recipe
from pipeline.config.replay import Replay
from pipeline.config.settings import Section
from pipeline.config.yaml_nodes import Node, Problems, parse_yaml
from pipeline.core.bundled import recipe_path
from pipeline.core.errors import ConfigError

T = TypeVar("T")

# The Ettin suite's pre-training.
# Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/configs`.
_PUBLISHED: Final = b"""
order: {algorithm: ettin-pcg64dxsm-v1, seed: 21, global_batch_size: 4608, max_seq_len: 1024}
shards: {dtype: uint16}
"""


def load_config(
    path: Path, overrides: Sequence[str] = (), *, text: bytes | None = None
) -> Mixture | Replay:
    """Return what a file declares, with `key=value` overrides applied: a Replay if it has a `pool`.

    `text` replaces the file's bytes, if they were read already; `path` is then only a name.

    Raises: ConfigError, with a line for every problem, file first and in its order.
    """

    def type_of(root: Node) -> type[Mixture | Replay]:
        return Replay if "pool" in root.entries else Mixture

    data = _read(path, "mixture") if text is None else text
    return _load(compose, type_of, data, path, overrides, folder=path.parent)


def load_mixture(
    path: Path, overrides: Sequence[str] = (), *, text: bytes | None = None
) -> Mixture:
    """Return the mixture that a file declares; otherwise as `load_config`."""
    declared = load_config(path, overrides, text=text)
    if isinstance(declared, Replay):
        raise ConfigError(
            f"{path}: pool: got a pool to replay, expected a mixture of sources to build",
            "ettin-data order gives the rows of a pool in order",
        )
    return declared


def load_replay(overrides: Sequence[str] = ()) -> Replay:
    """Return the published order with `key=value` overrides applied.

    Raises: ConfigError, with a line for every problem.
    """
    name = Path("the published order")
    return _load(compose, lambda _: Replay, _PUBLISHED, name, overrides, folder=Path())


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a file, or the shipped one of a name, with `key=value` overrides.

    Raises: ConfigError, with a line for every problem, files first and in their order.
    """
    path = recipe_path(str(path_or_name))
    return _load(extend, lambda _: Recipe, _read(path, "recipe"), path, overrides)


def _load(
    compose: Callable[[Node, Path, Problems], Node | None],
    type_of: Callable[[Node], type[T]],
    data: bytes,
    path: Path,
    overrides: Sequence[str],
    **others: Any,
) -> T:
    problems = Problems()
    written = parse_yaml(data, str(path), problems)
    root = None if written is None else compose(written, path, problems)
    given = read_overrides(overrides, problems)
    if root is not None:
        root = apply(root, given, problems)
        recorded = tuple(str(one) for one in sorted(given, key=lambda one: one.key))
        declared: T = Section(type_of(root)).check(root, "", problems, overrides=recorded, **others)
    problems.raise_if_any()
    return declared


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{path}: got no file ({reason}), expected a {what} file") from error
