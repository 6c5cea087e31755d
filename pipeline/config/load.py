"""Load a mixture, replay or recipe: a YAML file, the files it extends, then `--set` overrides.

A key may be set only once, so the order of overrides means nothing.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pipeline.config.compose import compose, extend
from pipeline.config.mixture import Mixture
from pipeline.config.recipe import ModelSpec, Recipe
from pipeline.config.replay import Replay
from pipeline.config.settings import Section, to_plain
from pipeline.config.yaml_nodes import (
    Entry,
    Node,
    Place,
    Problems,
    parse_yaml,
    read_value,
    reads_as_text,
)
from pipeline.core.bundled import recipe_path
from pipeline.core.errors import ConfigError
from pipeline.core.regular_file import read_file
from pipeline.core.shown import without_secrets

T = TypeVar("T")

# Seed and sizes of the Ettin suite's pre-training; the algorithm is the default of all mixtures.
# Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/configs`.
# Whether rows are written again is no part of what a mixture makes.
_ROWS: Final = "order.rows"
_DEFAULTS: Final = b"""
order: {seed: 21, global_batch_size: 4608, max_seq_len: 1024}
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
    """Return the order of `ettin-data order`, with `key=value` overrides applied.

    Raises: ConfigError, with a line for every problem.
    """
    name = Path("the order")
    return _load(compose, lambda _: Replay, _DEFAULTS, name, overrides, folder=Path())


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a file, or the shipped one of a name, with `key=value` overrides.

    Raises: ConfigError, with a line for every problem, files first and in their order.
    """
    path = recipe_path(str(path_or_name))
    return _load(extend, lambda _: Recipe, _read(path, "recipe"), path, overrides)


def read_model(declaration: object, where: str) -> ModelSpec:
    """Return the model whose declaration a recipe stored, as JSON values.

    Raises: ConfigError, with a line for every problem, or for a key that was not stored.
    """
    problems = Problems()
    root = parse_yaml(json.dumps(declaration).encode(), where, problems)  # JSON is YAML
    model = None if root is None else Section(ModelSpec).check(root, "", problems)
    problems.raise_if_any()
    assert isinstance(model, ModelSpec)
    if to_plain(model) != declaration:
        raise ConfigError(f"{where}: got other keys or spellings than this version stores")
    return model


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
    given = _read_overrides(overrides, problems)
    if root is not None:
        for key, value in given.items() if root.kind == "mapping" else ():
            root = _set(root, key, key, value, problems)
        recorded = tuple(
            without_secrets(f"{key}={_flow(value, top=True)}")
            for key, value in sorted(given.items())
            if key != _ROWS
        )
        declared: T = Section(type_of(root)).check(root, "", problems, overrides=recorded, **others)
    problems.raise_if_any()
    return declared


def _read(path: Path, what: str) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{path}: got no file ({reason}), expected a {what} file") from error


def _read_overrides(overrides: Sequence[str], problems: Problems) -> dict[str, Node]:
    """Return the values of overrides, each with its override as place, by dotted key."""
    read: dict[str, Node] = {}
    for number, override in enumerate(overrides, start=1):
        place = Place(file=None, line=number)
        # Bytes of the command line that are no UTF-8 arrive as lone surrogates.
        readable = override.encode(errors="replace").decode()
        key, equals, text = readable.partition("=")
        key = key.strip()
        shown = json.dumps(readable, ensure_ascii=False)
        if readable != override:
            problems.add(place, key, f"got {shown}, where ? is not UTF-8, expected text in UTF-8")
        elif not equals or not all(key.split(".")):
            problems.add(place, key or shown, f"got {shown}, expected key=value with a dotted key")
        elif any(_overlap(key, other) for other in read):
            problems.add(place, key, "got a key that is set twice, expected each key once")
        elif (node := read_value(text, key, place, problems)) is not None:
            read[key] = node
    return read


def _set(node: Node, rest: str, whole_key: str, value: Node, problems: Problems) -> Node:
    """Return a tree with the value at the rest of an override's key replaced."""
    if node.kind != "mapping":
        complaint = f"got a key inside {node.shown}, expected a key inside a mapping"
        problems.add(value.place, whole_key, complaint)
        return node
    # Names of sources may contain dots, so the longest key that is there wins.
    there = [key for key in node.entries if f"{rest}.".startswith(f"{key}.")]
    key = max(there, key=len, default=rest.partition(".")[0])
    entry = node.entries.get(key)
    key_place = value.place if entry is None else entry.place
    if deeper := rest[len(key) + 1 :]:
        below = Node(kind="mapping", place=node.place) if entry is None else entry.node
        value = _set(below, deeper, whole_key, value, problems)
    return replace(node, entries={**node.entries, key: Entry(place=key_place, node=value)})


def _overlap(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _flow(node: Node, top: bool = False) -> str:
    """Return a value on one line, in the one spelling that reads back as the same value."""
    if node.kind == "list":
        return f"[{', '.join(_flow(item) for item in node.items)}]"
    if node.kind == "mapping":
        pairs = (
            f"{json.dumps(key, ensure_ascii=False)}: {_flow(node.entries[key].node)}"
            for key in sorted(node.entries)
        )
        return "{" + ", ".join(pairs) + "}"
    if node.kind != "text":
        return node.text or "null"
    plain = top and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9./*_-]*", node.text) is not None
    if plain and reads_as_text(node.text):
        return node.text
    return json.dumps(node.text, ensure_ascii=False)
