"""Filters: what a mixture may ask of each document of a source, by the names of `datatrove`."""

from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.config.fields import Section, key
from pipeline.config.filter_options import RECORDS, Length
from pipeline.config.text_types import NAME
from pipeline.config.value_types import WRONG, Schema, closest
from pipeline.config.yaml_nodes import Node, Problems

FORMATTERS: Final = frozenset({"c4_quality", "pii"})
"""Filters that change texts, so that later ones and the output see what they made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """One filter with its options."""

    name: str = field(metadata=key(NAME, "Which filter."))
    options: Any = field(metadata=key(Section(Length), "A dataclass of `RECORDS`."))


class FilterListType:
    """A list of filters, each a name, or a mapping from one name to its options."""

    expected = f"a list of filters, each one of {', '.join(RECORDS)}"

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        """Return a tuple of `Filter`, or WRONG after saying why."""
        if node.kind != "list":
            problems.add(node.place, where, f"got {node.shown}, expected {self.expected}")
            return WRONG
        found = [
            self._one(item, f"{where}[{index}]", problems) for index, item in enumerate(node.items)
        ]
        return WRONG if WRONG in found else tuple(found)

    def _one(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind == "text":
            name, options = node.text, Node(kind="mapping", place=node.place)
        elif node.kind == "mapping" and len(node.entries) == 1:
            [(name, entry)] = node.entries.items()
            options = entry.node
        else:
            problems.add(
                node.place, where, f"got {node.shown}, expected a name, or one name with options"
            )
            return WRONG
        if name not in RECORDS:
            known = f"one of {', '.join(RECORDS)}{closest(name, RECORDS)}"
            problems.add(node.place, where, f'got "{name}", expected {known}')
            return WRONG
        value = RECORDS[name].check(options, f"{where}.{name}", problems)
        return WRONG if value is WRONG else Filter(name=name, options=value)

    def json_schema(self) -> Schema:
        """Return the JSON Schema of the lists that `check` accepts."""
        named = [
            {
                "type": "object",
                "properties": {name: record.json_schema()},
                "required": [name],
                "additionalProperties": False,
            }
            for name, record in RECORDS.items()
        ]
        return {"type": "array", "items": {"anyOf": [{"enum": list(RECORDS)}, *named]}}


FILTERS: Final = FilterListType()
