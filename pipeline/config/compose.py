"""Merge files that build on each other into one flat tree.

`extends` names base files, of which later ones win; a source takes from its origin under `origins`
what it does not say itself. Mappings are merged deeply, all else is replaced, and every value keeps
the place where it was written.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from pipeline.config.source import SOURCES
from pipeline.config.value_types import WRONG, OneOrMany, Text, closest, reject
from pipeline.config.yaml_nodes import Node, Problems, join, parse_yaml
from pipeline.core.regular_file import read_file

# Neither absolute nor from a home: a mixture goes where its folder goes.
EXTENDS: Final = OneOrMany(
    Text(
        expected="the path of another YAML file, relative to this one",
        pattern=r"^[^/~\\\x00-\x1f\x7f][^\\\x00-\x1f\x7f]*\.ya?ml$",
    )
)


def compose(root: Node, file: Path, problems: Problems) -> Node | None:
    """Return the flat tree of a file of sources, or None after saying in `problems` why not.

    Paths inside any of the files are relative to `file`, which extends them.
    """
    whole = extend(root, file, problems)
    return None if whole is None else _with_origins(whole, problems)


def extend(
    root: Node, file: Path, problems: Problems, extending: tuple[Path, ...] = ()
) -> Node | None:
    """Return the tree of a file over those of the files it extends, or None as `compose`.

    extending: the files that extend this one.
    """
    if root.kind != "mapping" or "extends" not in root.entries:
        return root
    written = root.entries["extends"].node
    if EXTENDS.check(written, "extends", problems) is WRONG:
        return None
    if written.kind == "list":
        named = [(f"extends[{index}]", node) for index, node in enumerate(written.items)]
    else:
        named = [("extends", written)]
    whole, opened = _without(root, "extends"), (*extending, file.resolve())
    for tree in reversed([_read(node, where, file, opened, problems) for where, node in named]):
        if tree is None:
            return None
        whole = _over(whole, tree)
    return whole


def _read(
    written: Node, where: str, file: Path, opened: tuple[Path, ...], problems: Problems
) -> Node | None:
    """Return the tree of one file that `file` extends."""
    below = file.parent / written.text
    if below.resolve() in opened:
        reject(written, where, problems, "no cycle", f"{written.shown}, which extends itself")
        return None
    try:
        data = read_file(below)
    except OSError as error:
        got = f"{written.shown} ({error.strerror or type(error).__name__})"
        reject(written, where, problems, EXTENDS.type.expected, got)
        return None
    tree = parse_yaml(data, str(below), problems)
    if tree is not None and tree.kind != "mapping":
        reject(tree, "", problems, "a mapping to extend")
        return None
    return tree and extend(tree, below, problems, opened)


def _with_origins(root: Node, problems: Problems) -> Node | None:
    """Return the tree whose sources have taken from `origins` what they do not say."""
    if root.kind != "mapping":
        return root
    origins = _origins(root, problems)
    if origins is None:
        return None
    flat = _without(root, "origins")
    sources = root.entries.get("sources")
    if sources is None or sources.node.kind != "mapping":
        return flat
    entries = sources.node.entries
    taken = {name: _origin_of(name, one.node, origins, problems) for name, one in entries.items()}
    if None in taken.values():
        return None
    # A mistake in a shared file is reported before a source takes it.
    for name in sorted(origins.keys() - taken.values()):
        SOURCES.section.check_part(origins[name], join("origins", name), problems)
    completed = {
        name: replace(one, node=_completed(one.node, origins.get(taken[name] or "")))
        for name, one in entries.items()
    }
    whole = replace(sources, node=replace(sources.node, entries=completed))
    return replace(flat, entries={**flat.entries, "sources": whole})


def _origins(root: Node, problems: Problems) -> dict[str, Node] | None:
    if "origins" not in root.entries:
        return {}
    written = root.entries["origins"].node
    if written.kind != "mapping":
        reject(written, "origins", problems, "a mapping of names")
        return None
    origins = {}
    for name, entry in written.entries.items():
        where, node = join("origins", name), entry.node
        if node.kind != "mapping":
            reject(node, where, problems, "a mapping of what a source says")
        elif "origin" in node.entries:
            complaint = "got an origin of an origin, expected what it says itself"
            problems.add(node.entries["origin"].place, join(where, "origin"), complaint)
        else:
            origins[name] = node
    return origins if len(origins) == len(written.entries) else None


def _origin_of(
    name: str, node: Node, origins: Mapping[str, Node], problems: Problems
) -> str | None:
    """Return the name of a source's origin, its own by default; None if it is unknown."""
    if "origin" not in node.entries:
        return name
    written = node.entries["origin"].node
    if written.kind == "text" and written.text in origins:
        return written.text
    known = f"one of {', '.join(sorted(origins))}" if origins else "a name under origins"
    where = join(join("sources", name), "origin")
    reject(written, where, problems, known + closest(written.text, origins))
    return None


def _completed(source: Node, origin: Node | None) -> Node:
    if origin is None:
        return source
    if source.kind == "null":
        return replace(origin, place=source.place)
    return _over(_without(source, "origin"), origin)


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
