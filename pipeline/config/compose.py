"""Files that build on each other -> one flat tree, as if it had been written whole.

Enters: the tree of a file. Leaves: the tree without `extends` and `origins`: below it lie the files
that it extends, later ones over earlier ones, and each source has taken from its origin what it
does not say itself. Mappings are merged deeply, everything else is replaced. Every value keeps the
place where it was written, so a message names the right file; what values mean is checked later, by
those who check a flat file.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from pipeline.config.source import SOURCES
from pipeline.config.value_types import WRONG, OneOrMany, Text, closest
from pipeline.config.yaml_nodes import Node, Problems, join, parse_yaml

# Neither from the root of a disk nor from a home: a mixture goes where its folder goes.
EXTENDS: Final = OneOrMany(
    Text(
        expected="the path of another YAML file, relative to this one",
        pattern=r"^[^/~\\\x00-\x1f\x7f][^\\\x00-\x1f\x7f]*\.ya?ml$",
    )
)


def compose(root: Node, file: Path, problems: Problems) -> Node | None:
    """Return the flat tree of a file, or None after saying in `problems` why there is none.

    Paths inside any of the files are those of a flat one: relative to `file`, which extends.
    """
    whole = extended(root, file, problems)
    return None if whole is None else _completed(whole, problems)


def extended(root: Node, file: Path, problems: Problems) -> Node | None:
    """Return the tree of a file over those of the files it extends, and so on.

    None after saying in `problems` why there is none.
    """
    return _extended(root, file, (file.resolve(),), problems)


def _extended(root: Node, file: Path, opened: tuple[Path, ...], problems: Problems) -> Node | None:
    if root.kind != "mapping" or "extends" not in root.entries:
        return root
    written = root.entries["extends"].node
    if EXTENDS.check(written, "extends", problems) is WRONG:
        return None
    if written.kind != "list":
        trees = [_below(written, "extends", file, opened, problems)]
    else:
        trees = [
            _below(node, f"extends[{index}]", file, opened, problems)
            for index, node in enumerate(written.items)
        ]
    whole = _without(root, "extends")
    for tree in reversed(trees):
        if tree is None:
            return None
        whole = _over(whole, tree)
    return whole


def _below(
    written: Node, where: str, file: Path, opened: tuple[Path, ...], problems: Problems
) -> Node | None:
    """Return the tree of one file that `file` extends."""
    below = file.parent / written.text
    if below.resolve() in opened:
        complaint = f"got {written.shown}, which comes back to itself, expected an end to it"
        problems.add(written.place, where, complaint)
        return None
    try:
        data = below.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        complaint = f"got {written.shown} ({reason}), expected {EXTENDS.kind.expected}"
        problems.add(written.place, where, complaint)
        return None
    tree = parse_yaml(data, str(below), problems)
    if tree is not None and tree.kind != "mapping":
        problems.add(tree.place, "", f"got {tree.shown}, expected a mapping to extend")
        return None
    return tree and _extended(tree, below, (*opened, below.resolve()), problems)


def _completed(root: Node, problems: Problems) -> Node | None:
    """Return the tree whose sources have taken from `origins` what they do not say."""
    if root.kind != "mapping":
        return root
    origins = _origins(root, problems)
    flat = _without(root, "origins")
    sources = root.entries.get("sources")
    if origins is None or sources is None or sources.node.kind != "mapping":
        return None if origins is None else flat
    written = {name: entry.node for name, entry in sources.node.entries.items()}
    found = ((name, _origin_of(name, node, origins, problems)) for name, node in written.items())
    taken = {name: origin for name, origin in found if origin is not None}
    if len(taken) < len(written):
        return None
    for name in sorted(origins.keys() - taken.values()):
        # A slip in a shared file is told before a source takes it.
        SOURCES.record.check_part(origins[name], join("origins", name), problems)
    entries = {
        name: replace(entry, node=_source(entry.node, origins.get(taken[name])))
        for name, entry in sources.node.entries.items()
    }
    completed = replace(sources, node=replace(sources.node, entries=entries))
    return replace(flat, entries={**flat.entries, "sources": completed})


def _origins(root: Node, problems: Problems) -> dict[str, Node] | None:
    entry = root.entries.get("origins")
    if entry is None:
        return {}
    wrong = [("origins", entry.node)] if entry.node.kind != "mapping" else []
    nodes = {name: inner.node for name, inner in entry.node.entries.items()}
    wrong += [
        (join("origins", name), node) for name, node in nodes.items() if node.kind != "mapping"
    ]
    for where, node in wrong:
        expected = "a mapping of what a source says" if where != "origins" else "a mapping of names"
        problems.add(node.place, where, f"got {node.shown}, expected {expected}")
    for name, node in nodes.items():
        if "origin" in node.entries:
            complaint = "got an origin of an origin, expected what it says itself"
            problems.add(node.entries["origin"].place, f"origins.{name}.origin", complaint)
            wrong.append((name, node))
    return None if wrong else nodes


def _origin_of(
    name: str, node: Node, origins: Mapping[str, Node], problems: Problems
) -> str | None:
    """Return the name of a source's origin, its own if it names none; None if that is wrong."""
    if "origin" not in node.entries:
        return name
    said = node.entries["origin"].node
    if said.kind == "text" and said.text in origins:
        return said.text
    known = f"one of {', '.join(sorted(origins))}" if origins else "a name under origins"
    complaint = f"got {said.shown}, expected {known}{closest(said.text, origins)}"
    problems.add(said.place, join(join("sources", name), "origin"), complaint)
    return None


def _source(node: Node, origin: Node | None) -> Node:
    if origin is None:
        return node
    if node.kind == "null":
        return replace(origin, place=node.place)
    return _over(_without(node, "origin"), origin)


def _over(above: Node, below: Node) -> Node:
    """Return `above` with what only `below` says; mappings deeply, all else as `above` has it."""
    if above.kind != "mapping" or below.kind != "mapping":
        return above
    entries = dict(above.entries)
    for key, entry in below.entries.items():
        own = above.entries.get(key)
        entries[key] = entry if own is None else replace(own, node=_over(own.node, entry.node))
    return replace(above, entries=entries)


def _without(node: Node, key: str) -> Node:
    return replace(node, entries={name: e for name, e in node.entries.items() if name != key})
