"""A file that a person wrote -> what it declares: a mixture to build, or a pool to replay.

Enters: a YAML file, what it extends, and `--set` overrides, which come last. Leaves: frozen values,
or one ConfigError that lists every problem with its place.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.config.compose import compose
from pipeline.config.fields import Section
from pipeline.config.mixture import MIXTURE, Mixture
from pipeline.config.overrides import apply, read_overrides
from pipeline.config.replay import REPLAY, Replay
from pipeline.config.yaml_nodes import Node, Problems, parse_yaml
from pipeline.core.errors import ConfigError

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

    `text` stands in for the file's bytes, if they were read already; `path` is then only a name.

    Raises: ConfigError, with a line for every problem, file first and in its order.
    """
    data = _read(path) if text is None else text
    declared = _declared(_kind, data, path, overrides, folder=path.parent)
    assert isinstance(declared, Mixture | Replay)
    return declared


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
    replay = _declared(lambda _: REPLAY, _PUBLISHED, name, overrides, folder=Path())
    assert isinstance(replay, Replay)
    return replay


def _kind(root: Node) -> Section:
    return REPLAY if "pool" in root.entries else MIXTURE


def _declared(
    kind_of: Callable[[Node], Section],
    data: bytes,
    path: Path,
    overrides: Sequence[str],
    **more: Any,
) -> object:
    problems = Problems()
    written = parse_yaml(data, str(path), problems)
    root = None if written is None else compose(written, path, problems)
    settings = read_overrides(overrides, problems)
    declared = None
    if root is not None:
        if root.kind == "mapping":
            root = apply(root, settings, problems)
        recorded = tuple(str(setting) for setting in sorted(settings, key=lambda one: one.key))
        declared = kind_of(root).check(root, "", problems, overrides=recorded, **more)
    problems.refuse()
    return declared


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{path}: got no file ({reason}), expected a mixture file") from error
