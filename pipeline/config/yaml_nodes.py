"""YAML text -> a tree of `Node`s, in which every value has a place that a message can name.

Nothing is guessed: a key given twice, a tag, a merge key, and a scalar that YAML 1.1 and YAML 1.2
read differently (`no`, `1_000`, `1e6`, `12:30:45`, `017`, a date) are problems.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import yaml  # type: ignore[import-untyped,unused-ignore]

from pipeline.core.errors import ConfigError

_MOST_LEVELS = 100
NodeKind = Literal["null", "bool", "int", "float", "text", "ambiguous", "list", "mapping"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    file: str | None
    """As the person named it; None for an override."""
    line: int
    """From 1; for an override its number on the command line."""
    column: int = 1
    """In characters, from 1."""

    def label(self, where: str) -> str:
        """Return the beginning of a message about `where`, a dotted path or empty."""
        # A key may hold anything; it must not break the line, or the terminal.
        where = where if where.isprintable() else json.dumps(where)
        if self.file is None:
            return f"--set {where}"
        label = f"{self.file}:{self.line}:{self.column}"
        return f"{label}: {where}" if where else label


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One value as written."""

    kind: NodeKind
    """`ambiguous` if it depends on the version of YAML."""
    place: Place
    text: str = ""
    """Of a scalar."""
    items: tuple["Node", ...] = ()
    """Of a list."""
    entries: Mapping[str, "Entry"] = field(default_factory=dict)
    """Of a mapping, by key."""

    @property
    def shown(self) -> str:
        """The value as a message names it."""
        if self.kind in ("list", "mapping"):
            return f"a {self.kind}"
        if self.kind == "null":
            return self.text or "nothing"
        text = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        if self.kind == "ambiguous":
            return f"{text}, which YAML 1.1 and YAML 1.2 read differently"
        return json.dumps(text, ensure_ascii=False) if self.kind == "text" else text


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One value of a mapping."""

    place: Place
    """Of the key."""
    node: Node


class Problems:
    """What is wrong with files and overrides, to be reported at once and in order."""

    def __init__(self) -> None:
        self._lines: list[tuple[tuple[int, int, int], str]] = []
        self._files: list[str | None] = []
        self._hints: list[str] = []

    def begin(self, file: str) -> None:
        """Note that a file is read: its problems come after those of earlier files."""
        self._files.append(file)

    def add(self, place: Place, where: str, complaint: str, hint: str = "") -> None:
        # Overrides come last.
        order = self._files.index(place.file) if place.file in self._files else len(self._files)
        rank = (order if place.file is not None else sys.maxsize, place.line, place.column)
        self._lines.append((rank, f"{place.label(where)}: {complaint}"))
        self._hints += [hint] * bool(hint)

    def raise_if_any(self) -> None:
        """Raise a ConfigError with every problem on its own line: files first, in their order."""
        if self._lines:
            lines = [line for _, line in sorted(self._lines, key=lambda ranked: ranked[0])]
            hints = "; ".join(dict.fromkeys(self._hints))
            raise ConfigError("\n".join(dict.fromkeys(lines)), hints or None)


def join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def parse_yaml(data: bytes, file: str, problems: Problems) -> Node | None:
    """Return the tree of a file, or None if it cannot be read as YAML at all."""
    problems.begin(file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        byte = f"the byte 0x{data[error.start]:02x}"
        problems.add(_place_after(before, file), "", f"got {byte}, expected text in UTF-8")
        return None

    def place_of(mark: Any) -> Place:  # of the reader in Python or in C
        return Place(file=file, line=mark.line + 1, column=mark.column + 1)

    return _Reader(place_of, problems).read(
        text, "", lambda index: _place_after(text[:index], file)
    )


def read_value(text: str, where: str, place: Place, problems: Problems) -> Node | None:
    """Return the tree of an override's value, all of it at `place`, or None if it is no YAML."""
    return _Reader(lambda _: place, problems).read(text, where, lambda _: place)


def shallow_events(text: str) -> Iterator[yaml.Event]:
    """Yield the events of YAML. Raises: yaml.YAMLError; RecursionError below 100 levels."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        yield event
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_LEVELS:
            # Found here, as the reader's time grows with the square of the depth.
            raise RecursionError("values are nested too deeply")


def reads_as_text(word: str) -> bool:
    """Return whether a word without quotes is text to YAML 1.1 and YAML 1.2 alike."""
    node = yaml.compose(word, Loader=yaml.SafeLoader)
    return isinstance(node, yaml.ScalarNode) and _scalar_kind(node) == "text"


def _place_after(text: str, file: str) -> Place:
    lines = re.split(r"\r\n|\r|\n", text)
    return Place(file=file, line=len(lines), column=len(lines[-1]) + 1)


class _Reader:
    """Turns PyYAML's nodes into ours, once each, even where an alias repeats them."""

    def __init__(self, place_of: Callable[[Any], Place], problems: Problems) -> None:
        self._place_of = place_of
        self._problems = problems
        self._read: dict[int, Node] = {}
        self._open: set[int] = set()

    def read(self, text: str, where: str, place_at: Callable[[int], Place]) -> Node | None:
        try:
            for event in shallow_events(text):
                self._refuse_tag(event, where)
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            if root is None:
                return Node(kind="null", place=place_at(0))
            return self._node(root, where)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self._place_of(mark) if mark is not None else place_at(0)
            reason = ", ".join(part for part in (error.context, error.problem) if part)
            complaint = f"got text that is not YAML ({reason}), expected YAML"
        except yaml.reader.ReaderError as error:
            place = place_at(error.position)
            complaint = f"got the character U+{error.character:04X}, expected printable text"
        except RecursionError:
            place, complaint = place_at(0), "got values nested too deeply, expected a mixture"
        self._problems.add(place, where, complaint)
        return None

    def _refuse_tag(self, event: yaml.Event, where: str) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and event.start_mark is not None:
            tag = tag.replace("tag:yaml.org,2002:", "!!")
            complaint = f"got the tag {tag}, expected a value without a tag"
            self._problems.add(self._place_of(event.start_mark), where, complaint)

    def _node(self, node: yaml.Node, where: str) -> Node:
        place = self._place_of(node.start_mark)
        if id(node) in self._open:
            self._problems.add(place, where, "got a value inside itself, expected no cycle")
            return Node(kind="null", place=place)
        if id(node) not in self._read:
            self._open.add(id(node))
            self._read[id(node)] = self._fresh(node, place, where)
            self._open.discard(id(node))
        return self._read[id(node)]

    def _fresh(self, node: yaml.Node, place: Place, where: str) -> Node:
        if isinstance(node, yaml.SequenceNode):
            items = (self._node(item, f"{where}[{i}]") for i, item in enumerate(node.value))
            return Node(kind="list", place=place, items=tuple(items))
        if isinstance(node, yaml.MappingNode):
            return Node(kind="mapping", place=place, entries=self._entries(node, where))
        assert isinstance(node, yaml.ScalarNode)
        text = node.value.encode(errors="replace").decode()
        if text != node.value:
            complaint = "got half of a surrogate pair, expected whole characters"
            self._problems.add(place, where, complaint)
        return Node(kind=_scalar_kind(node), place=place, text=text)

    def _entries(self, node: yaml.MappingNode, where: str) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key = self._node(key_node, where)
            inside = join(where, key.text)
            if key_node.tag == "tag:yaml.org,2002:merge":
                complaint = "got a merge key, expected the keys themselves"
                self._problems.add(key.place, where, complaint)
                continue
            if key.kind != "text":
                complaint = f"got the key {key.shown}, expected text as a key, in quotes"
                self._problems.add(key.place, where, complaint)
            if key.text in entries:
                first = entries[key.text].place
                complaint = f"got a key that is already on line {first.line}, expected it once"
                self._problems.add(key.place, inside, complaint)
            else:
                entries[key.text] = Entry(place=key.place, node=self._node(value_node, inside))
        return entries


# Source: YAML 1.2.2, section 10.3.2, "Tag Resolution" of the core schema.
_CORE_SCHEMA: Final[tuple[tuple[NodeKind, str], ...]] = (
    ("null", r"null|Null|NULL|~|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
    ),
)


def _scalar_kind(node: yaml.ScalarNode) -> NodeKind:
    """Return what a scalar of PyYAML is, if YAML 1.1 and YAML 1.2 agree on it."""
    if node.style is not None:
        return "text"
    matching = (kind for kind, pattern in _CORE_SCHEMA if re.fullmatch(pattern, node.value))
    kind: NodeKind = next(matching, "text")
    # PyYAML tags by YAML 1.1; both must agree. 017 is an int to both, but 15 to one of them.
    tagged = node.tag.removeprefix("tag:yaml.org,2002:").replace("str", "text")
    leading_zero = kind == "int" and not re.fullmatch(r"0|-?[1-9][0-9]*", node.value)
    return "ambiguous" if tagged != kind or leading_zero else kind
