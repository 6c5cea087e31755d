"""Keys of a mixture file, each declared once, as the metadata of the dataclass field it fills.

Enters: the `Node` of a mapping. Leaves: a frozen dataclass with defaults filled in, or `WRONG` and
every complaint in `Problems`. The same declarations make the JSON Schema. What depends on two keys
at once is a `Rule`; the loader and the dataclass know it, the schema tells it in words only.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pipeline.config.value_types import WRONG, Nullable, Schema, Text, ValueType, closest
from pipeline.config.yaml_nodes import Node, Problems, join
from pipeline.core.errors import ConfigError

Rule = Callable[[Mapping[str, Any]], Iterator[tuple[str, str]]]
"""From the values of a record by key, those refused left out, to (key, complaint)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key of a mixture file, kept as the metadata of the field that it fills."""

    name: str
    """The key as written in the file."""
    kind: ValueType
    """What its value may be."""
    description: str
    """One sentence for people, also shown by editors."""
    changes_bytes: bool
    """False for a key that no output depends on; it stays out of the fingerprint."""


def key(
    kind: ValueType, description: str, *, name: str = "", changes_bytes: bool = True
) -> dict[str, Key]:
    """Return field metadata that declares a key, named like the field unless `name` is given."""
    declared = Key(name=name, kind=kind, description=description, changes_bytes=changes_bytes)
    return {"key": declared}


def keys(record: Any) -> dict[str, tuple[dataclasses.Field[Any], Key]]:
    """Return the declared keys of a dataclass, or of a value of one, by name in the file."""
    declared = [(field, field.metadata.get("key")) for field in dataclasses.fields(record)]
    return {found.name or field.name: (field, found) for field, found in declared if found}


def to_plain(value: Any) -> Any:
    """Return a checked value as dicts, lists, strings and ints, as the file would say it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = keys(value).items()
        return {
            name: to_plain(getattr(value, field.name))
            for name, (field, declared) in fields
            if declared.changes_bytes
        }
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    return value


def apply_rule(rule: Rule, value: Any) -> None:
    """Refuse a record built in code whose values contradict each other.

    Raises: ConfigError with every contradiction on its own line.
    """
    given = {name: getattr(value, field.name) for name, (field, _) in keys(value).items()}
    complaints = [f"{name}: {complaint}" for name, complaint in rule(given)]
    if complaints:
        raise ConfigError("\n".join(complaints))


def _no_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ()


@dataclass(frozen=True)
class Section:
    """A mapping whose keys are the declared keys of a dataclass."""

    type: type[Any]
    rule: Rule = _no_rule
    needs: str = ""
    """What a message says is needed, where that is no key alone."""
    composing: tuple[str, ...] = ()
    """Keys that are gone when this is checked, since composition has read them."""

    @property
    def expected(self) -> str:
        needed = [name for name, (field, _) in keys(self.type).items() if _is_required(field)]
        needs = self.needs or ", ".join(sorted(needed))
        return f"a mapping with {needs}" if needs else "a mapping"

    def check(self, node: Node, where: str, problems: Problems, **others: Any) -> Any:
        """Return the dataclass; `others` fills the fields that are no keys."""
        if node.kind != "mapping":
            problems.add(node.place, where, f"got {node.shown}, expected {self.expected}")
            return WRONG
        known = keys(self.type)
        self._refuse_unknown(node, known, where, problems)
        given: dict[str, Any] = {}
        for name, (field, declared) in known.items():
            if name in node.entries:
                given[name] = declared.kind.check(
                    node.entries[name].node, join(where, name), problems
                )
            elif _is_required(field):
                complaint = f"got nothing, expected {declared.kind.expected}"
                problems.add(node.place, join(where, name), complaint)
                given[name] = WRONG
            else:
                given[name] = _default(field)
        right = {name: value for name, value in given.items() if value is not WRONG}
        complaints = list(self.rule(right))
        for name, complaint in complaints:
            place = node.entries[name].node.place if name in node.entries else node.place
            problems.add(place, join(where, name), complaint)
        if complaints or len(right) < len(known):
            return WRONG
        values = {known[name][0].name: value for name, value in right.items()}
        return self.type(**values, **others)

    def check_part(self, node: Node, where: str, problems: Problems) -> None:
        """Complain of what is written, but not of what is left out, here or deeper."""
        if node.kind != "mapping":
            problems.add(node.place, where, f"got {node.shown}, expected {self.expected}")
            return
        known = keys(self.type)
        self._refuse_unknown(node, known, where, problems)
        for name in node.entries.keys() & known:
            kind, value = known[name][1].kind, node.entries[name].node
            inner = kind.kind if isinstance(kind, Nullable) and value.kind != "null" else kind
            if isinstance(inner, Section):
                inner.check_part(value, join(where, name), problems)
            else:
                kind.check(value, join(where, name), problems)

    def _refuse_unknown(
        self, node: Node, known: Mapping[str, Any], where: str, problems: Problems
    ) -> None:
        names = sorted([*known, *self.composing])
        for name, entry in node.entries.items():
            if name in self.composing and entry.place.file is None:
                complaint = "got it in an override, expected it in a file alone"
                problems.add(entry.place, join(where, name), complaint)
            elif name not in known:
                complaint = f"got an unknown key, expected one of {', '.join(names)}"
                problems.add(entry.place, join(where, name), complaint + closest(name, names))

    def json_schema(self) -> Schema:
        known = keys(self.type)
        properties = {
            name: _described(declared, field) for name, (field, declared) in known.items()
        }
        required = [name for name, (field, _) in known.items() if _is_required(field)]
        schema = {"type": "object", "additionalProperties": False, "properties": properties}
        return {**schema, "required": required} if required else schema


@dataclass(frozen=True)
class SectionTable:
    """A mapping from names that people choose to records that know their name, sorted by it."""

    record: Section
    name: Text

    @property
    def expected(self) -> str:
        return "a mapping with at least one name"

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind != "mapping" or not node.entries:
            got = "an empty mapping" if node.kind == "mapping" else node.shown
            problems.add(node.place, where, f"got {got}, expected {self.expected}")
            return WRONG
        values = []
        written = [name for name, entry in node.entries.items() if entry.place.file is not None]
        for name, entry in sorted(node.entries.items()):
            inside = join(where, name)
            if entry.place.file is None and node.place.file is not None:
                known = f"one of {', '.join(written)}" if written else "a name in the file"
                complaint = f"got an unknown name, expected {known}{closest(name, written)}"
                problems.add(entry.place, inside, complaint)
                continue
            named = self.name.check(
                Node(kind="text", place=entry.place, text=name), inside, problems
            )
            value = self.record.check(entry.node, inside, problems, name=name)
            values.append(WRONG if named is WRONG else value)
        return WRONG if WRONG in values else tuple(values)

    def json_schema(self) -> Schema:
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": self.name.json_schema(),
            "additionalProperties": self.record.json_schema(),
        }


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _described(declared: Key, field: dataclasses.Field[Any]) -> Schema:
    schema = {"description": declared.description, **declared.kind.json_schema()}
    if _is_required(field) or _default(field) is None:
        return schema
    return {**schema, "default": to_plain(_default(field))}
