"""`--set key=value` overrides, read like the file and put in place of what it says.

A key may be set only once, so the order of overrides means nothing.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.config.yaml_nodes import Entry, Node, Place, Problems, read_value, reads_as_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    key: str
    """Dotted path of the value to set."""
    node: Node
    """The value, with the override as its place."""

    def __str__(self) -> str:
        return f"{self.key}={_flow(self.node, top=True)}"


def read_overrides(overrides: Sequence[str], problems: Problems) -> list[Override]:
    """Return the overrides that can be read, in the order given."""
    read: list[Override] = []
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
        elif any(_overlap(key, other.key) for other in read):
            problems.add(place, key, "got a key that is set twice, expected each key once")
        else:
            node = read_value(text, key, place, problems)
            if node is not None:
                read.append(Override(key=key, node=node))
    return read


def apply(root: Node, overrides: Iterable[Override], problems: Problems) -> Node:
    """Return the tree with the overridden values in place of the written ones."""
    for override in overrides if root.kind == "mapping" else ():
        root = _set(root, override.key, override, problems)
    return root


def _set(node: Node, rest: str, override: Override, problems: Problems) -> Node:
    if node.kind != "mapping":
        complaint = f"got a key inside {node.shown}, expected a key inside a mapping"
        problems.add(override.node.place, override.key, complaint)
        return node
    # Names of sources may contain dots, so the longest key that is there wins.
    there = [key for key in node.entries if f"{rest}.".startswith(f"{key}.")]
    key = max(there, key=len, default=rest.partition(".")[0])
    deeper = rest[len(key) + 1 :]
    entry = node.entries.get(key)
    if entry is None:
        below, key_place = Node(kind="mapping", place=node.place), override.node.place
    else:
        below, key_place = entry.node, entry.place
    value = _set(below, deeper, override, problems) if deeper else override.node
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
