"""Settings: each declared once, as a field of a frozen dataclass.

`@settings` makes the dataclass, `setting(...)` declares one key of a file. From them, `Section`
checks the mapping that a person wrote and makes the JSON Schema. What depends on two keys at once
is the class's `rule`: loading and the dataclass check it, the schema mentions it in words only.
"""

import dataclasses
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from fractions import Fraction
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin

from pipeline.config.value_types import (
    WRONG,
    Boolean,
    Choice,
    Nullable,
    Schema,
    Text,
    ValueType,
    closest,
    reject,
)
from pipeline.config.yaml_nodes import Node, Place, Problems, join
from pipeline.core.errors import ConfigError
from pipeline.core.shown import without_secrets

T = TypeVar("T")
Given = Mapping[str, Any]
"""Accepted values of a section by key."""
Complaints = Iterator[tuple[str, object, str] | tuple[str, object, str, str]]
"""Keys with what was got and what is expected, and perhaps what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    name: str
    """The key in the file."""
    attribute: str
    """The field that it fills."""
    type: ValueType
    description: str
    """One sentence for people, also shown by editors."""
    default: Any
    """MISSING if the key is required."""
    changes_bytes: bool
    """False for a key that is not part of the fingerprint."""
    omits_default: bool
    """Whether a declaration leaves the default out: for keys added later, so fingerprints stay."""
    is_set: bool
    """Whether order and repetition in its list mean nothing."""
    has_secrets: bool
    """Whether its texts are addresses, whose secrets no declaration has."""

    def json_schema(self) -> Schema:
        schema = {"description": self.description, **self.type.json_schema()}
        if self.default is MISSING or self.default is None:
            return schema
        return {**schema, "default": to_plain(self.default)}


_SETTINGS: dict[type[Any], dict[str, Setting]] = {}


def setting(
    description: str,
    type: ValueType | None = None,
    *,
    default: Any = MISSING,
    name: str = "",
    changes_bytes: bool = True,
    omits_default: bool = False,
    is_set: bool = False,
    has_secrets: bool = False,
) -> Any:
    """Declare a key, named like its field unless `name` is given.

    By default `type` follows from the field's annotation: a bool, a Literal of names, or another
    class of settings, or None.
    """
    about = {
        "description": description,
        "changes_bytes": changes_bytes,
        "omits_default": omits_default,
        "is_set": is_set,
        "has_secrets": has_secrets,
    }
    return field(default=default, metadata={"setting": {**about, "name": name, "type": type}})


def optional(description: str, type: ValueType, *, default: Any = None, **about: Any) -> Any:
    """Declare a key that may be null, and is null by default unless `default` is given."""
    return setting(description, Nullable(type), default=default, **about)


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(setting, dataclasses.field)
)
def settings(cls: type[T]) -> type[T]:
    """Make a class of settings a frozen dataclass that checks its `rule` when it is built.

    A class may have `rule`, a static method from `Given` to `Complaints`; `needs`, what a message
    says is needed besides the required keys; and `composed`, keys that composition removes before
    the section is checked.
    """
    if not hasattr(cls, "__post_init__"):
        setattr(cls, "__post_init__", check_rule)  # noqa: B010, mypy knows no such attribute
    made = dataclass(frozen=True, kw_only=True, slots=True)(cls)
    found = _SETTINGS.setdefault(made, {})
    for one in dataclasses.fields(made):  # type: ignore[arg-type]  # mypy sees no dataclass here
        if about := one.metadata.get("setting"):
            name, type_ = about["name"] or one.name, about["type"] or _inferred(one.type)
            known = {**about, "name": name, "type": type_}
            found[name] = Setting(attribute=one.name, default=one.default, **known)
    return made


def settings_of(record: type[Any]) -> Mapping[str, Setting]:
    return _SETTINGS[record]


def _inferred(annotation: Any) -> ValueType:
    if annotation is bool:
        return Boolean()
    if get_origin(annotation) is Literal:
        return Choice(*get_args(annotation))
    if get_origin(annotation) in (types.UnionType, Union):
        [inner] = (one for one in get_args(annotation) if one is not types.NoneType)
        return Nullable(_inferred(inner))
    return Section(annotation)


def to_plain(value: Any) -> Any:
    """Return a checked value as dicts, lists, strings and ints, as a file would have it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            name: _public(getattr(value, one.attribute), one)
            for name, one in settings_of(type(value)).items()
            if one.changes_bytes
            and not (one.omits_default and getattr(value, one.attribute) == one.default)
        }
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    return value


def _public(value: Any, setting: Setting) -> Any:
    """Return the value of a key as `to_plain` does, without secrets. Pure."""
    plain = to_plain(value)
    if not setting.has_secrets or plain is None:
        return plain
    return sorted({without_secrets(address) for address in plain})


def check_rule(record: Any) -> None:
    """Check a record that may have been built in code, and give its sets their one spelling.

    Raises: ConfigError with every contradiction on its own line.
    """
    known = settings_of(type(record))
    given = {name: getattr(record, one.attribute) for name, one in known.items()}
    if complaints := _rule(type(record), given):
        hints = "; ".join(hint for _, _, hint in complaints if hint)
        lines = [f"{name}: {complaint}" for name, complaint, _ in complaints]
        raise ConfigError("\n".join(lines), hints or None)
    for name, one in known.items():
        if one.is_set and given[name] is not None:
            object.__setattr__(record, one.attribute, tuple(sorted(set(given[name]))))


def only_one(given: Given, *kinds: str, expected: str) -> Complaints:
    """Complain unless exactly one of a few keys, all of which were read, has a value."""
    found = [kind for kind in kinds if given.get(kind) is not None]
    if len(found) != 1 and all(kind in given for kind in kinds):
        if found:
            yield found[1], " and ".join(found), "only one of them"
        else:
            yield kinds[0], "nothing", expected


def only_with(given: Given, key: str, *names: str) -> Complaints:
    """Complain about keys that have a value where the key that they are for has none."""
    if key in given and given[key] is None:
        for name in names:
            if given.get(name) is not None:
                yield name, f"{name} without {key}", f"it with {key} only"


def _rule(record: type[Any], given: Given) -> list[tuple[str, str, str]]:
    """Return the key of each complaint, the complaint, and its hint, which may be empty."""
    complaints: Complaints = record.rule(given) if hasattr(record, "rule") else iter(())
    return [
        (name, f"got {got}, expected {expected}", "".join(hint))
        for name, got, expected, *hint in complaints
    ]


def _paths_to(key: str, record: type[Any]) -> Iterator[str]:
    """Yield where sections inside a class of settings have a key, as `sources.NAME.filters`.

    Of those inside one another, the outermost.
    """
    for name, one in settings_of(record).items():
        type_ = one.type.type if isinstance(one.type, Nullable) else one.type
        if isinstance(type_, NamedSections):
            name, type_ = f"{name}.NAME", type_.section
        if isinstance(type_, Section):
            if key in settings_of(type_.type):
                yield f"{name}.{key}"
            else:
                yield from (f"{name}.{path}" for path in _paths_to(key, type_.type))


def _place_of(node: Node, name: str) -> Place:
    """Return where the value of a dotted key is, or the innermost mapping that lacks it."""
    # Names of sources may contain dots.
    there = [key for key in node.entries if f"{name}.".startswith(f"{key}.")]
    if not there:
        return node.place
    key = max(there, key=len)
    return _place_of(node.entries[key].node, name[len(key) + 1 :])


@dataclass(frozen=True)
class Section:
    """A mapping whose keys are the settings of a class."""

    type: type[Any]

    @property
    def expected(self) -> str:
        known = settings_of(self.type).items()
        required = [name for name, one in known if one.default is MISSING]
        needs = getattr(self.type, "needs", "") or ", ".join(sorted(required))
        return f"a mapping with {needs}" if needs else "a mapping"

    def check(self, node: Node, where: str, problems: Problems, **others: Any) -> Any:
        """Return the record; `others` fills the fields that are not settings."""
        if node.kind != "mapping":
            return reject(node, where, problems, self.expected)
        self._refuse_unknown(node, where, problems)
        known = settings_of(self.type)
        given: dict[str, Any] = {}
        for name, one in known.items():
            inside = join(where, name)
            if name in node.entries:
                given[name] = one.type.check(node.entries[name].node, inside, problems)
            elif one.default is MISSING:
                problems.add(node.place, inside, f"got nothing, expected {one.type.expected}")
                given[name] = WRONG
            else:
                given[name] = one.default
        right = {name: value for name, value in given.items() if value is not WRONG}
        complaints = _rule(self.type, right)
        for name, complaint, hint in complaints:
            problems.add(_place_of(node, name), join(where, name), complaint, hint)
        if complaints or len(right) < len(known):
            return WRONG
        return self.type(**{known[name].attribute: right[name] for name in right}, **others)

    def check_part(self, node: Node, where: str, problems: Problems) -> None:
        """Complain about what is given, but not about what is missing, here or deeper."""
        if node.kind != "mapping":
            reject(node, where, problems, self.expected)
            return
        self._refuse_unknown(node, where, problems)
        known = settings_of(self.type)
        for name in node.entries.keys() & known:
            type_, value = known[name].type, node.entries[name].node
            inner = type_.type if isinstance(type_, Nullable) and value.kind != "null" else type_
            if isinstance(inner, Section):
                inner.check_part(value, join(where, name), problems)
            else:
                type_.check(value, join(where, name), problems)

    def _refuse_unknown(self, node: Node, where: str, problems: Problems) -> None:
        known, composed = settings_of(self.type), getattr(self.type, "composed", ())
        names = sorted([*known, *composed])
        for name, entry in node.entries.items():
            if name in composed and entry.place.file is None:
                complaint = "got it in an override, expected it in a file only"
                problems.add(entry.place, join(where, name), complaint)
            elif name not in known:
                complaint = f"got an unknown key, expected one of {', '.join(names)}"
                places = [join(where, path) for path in _paths_to(name, self.type)]
                advice = f"; it belongs elsewhere, as {' or '.join(places)}"
                if len(places) == 1 and ".NAME." in places[0]:
                    above = places[0].partition(".NAME.")[0]
                    advice = f"; it belongs under each of the {above}, as {places[0]}"
                advice = advice if places else closest(name, names)
                problems.add(entry.place, join(where, name), complaint + advice)

    def json_schema(self) -> Schema:
        known = settings_of(self.type)
        properties = {name: one.json_schema() for name, one in known.items()}
        required = [name for name, one in known.items() if one.default is MISSING]
        schema = {"type": "object", "additionalProperties": False, "properties": properties}
        return {**schema, "required": required} if required else schema


@dataclass(frozen=True)
class NamedSections:
    """A mapping from names that people choose to sections that know their name, sorted by it."""

    section: Section
    name: Text

    @property
    def expected(self) -> str:
        return "a mapping with at least one name"

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind != "mapping" or not node.entries:
            got = "an empty mapping" if node.kind == "mapping" else node.shown
            return reject(node, where, problems, self.expected, got)
        values = []
        written = [name for name, entry in node.entries.items() if entry.place.file is not None]
        for name, entry in sorted(node.entries.items()):
            inside = join(where, name)
            if entry.place.file is None and node.place.file is not None:
                known = f"one of {', '.join(written)}" if written else "a name in the file"
                complaint = f"got an unknown name, expected {known}{closest(name, written)}"
                problems.add(entry.place, inside, complaint)
                continue
            key = Node(kind="text", place=entry.place, text=name)
            named = self.name.check(key, inside, problems)
            value = self.section.check(entry.node, inside, problems, name=name)
            values.append(WRONG if named is WRONG else value)
        return WRONG if WRONG in values else tuple(values)

    def json_schema(self) -> Schema:
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": self.name.json_schema(),
            "additionalProperties": self.section.json_schema(),
        }
