"""The JSON Schema of mixture files, for editors and for people who write their own checks.

Enters: nothing. Leaves: a draft 2020-12 document, made from the same keys that check a file. It
knows both kinds of file, those that build and those that replay a `pool`, and that a file which
`extends` another may leave out what that says. It knows names, types, bounds and patterns; rules
between two keys are told in the descriptions and checked by loading only. Invariant: what the
schema refuses, loading refuses too.
"""

from typing import Any, Final

from pipeline.config.compose import EXTENDS
from pipeline.config.mixture import MIXTURE
from pipeline.config.replay import REPLAY
from pipeline.config.value_types import Schema

_SOURCE: Final = {"$ref": "#/$defs/source"}
_NULL: Final = {"type": "null"}


def document() -> dict[str, Any]:
    """Return the JSON Schema of a mixture file. Pure."""
    mixture, needed = parted(MIXTURE.json_schema())
    replay, needed_to_replay = parted(REPLAY.json_schema())
    # Only an order without a file goes without a name.
    needed_to_replay["required"].append("name")
    sources = mixture["properties"]["sources"]
    source = sources["additionalProperties"]
    needed_of_sources = needed["properties"].pop("sources")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "mixture.schema.json",
        "title": "Mixture",
        "description": "Declares which documents become which training shards, in which order; or, "
        "with a pool, whose rows are put in order.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **_composing(),
            **mixture["properties"],
            "sources": {**sources, "additionalProperties": {"anyOf": [_SOURCE, _NULL]}},
            "pool": replay["properties"]["pool"],
        },
        "$defs": {"source": {**source, "properties": {**_origin(), **source["properties"]}}},
        "allOf": [
            unless(["extends", "pool"], needed),
            unless(["extends", "origins"], {"properties": {"sources": needed_of_sources}}),
            {
                "if": {"required": ["pool"]},
                "then": {"propertyNames": {"enum": [*_composing(), *replay["properties"]]}},
            },
            {"if": {"required": ["pool"]}, "then": unless(["extends"], needed_to_replay)},
        ],
    }


def extending() -> dict[str, Schema]:
    """Return what `extends` may be, in whatever file."""
    told = (
        "Another file, or several, relative to this one, that say what this one does not, later "
        "ones over earlier ones: mappings are merged deeply, everything else is replaced."
    )
    return {"extends": {"description": told, **EXTENDS.json_schema()}}


def _composing() -> dict[str, Schema]:
    return {
        **extending(),
        "origins": {
            "description": "What sources of the same name, or that name it as their origin, say "
            "where they do not say otherwise.",
            "type": "object",
            "additionalProperties": _SOURCE,
        },
    }


def _origin() -> dict[str, Schema]:
    return {
        "origin": {
            "description": "Name under origins of what this source does not say; its own name if "
            "nothing is said.",
            "type": "string",
        }
    }


def unless(names: list[str], needed: Schema) -> Schema:
    """Return that a file needs something if it has none of the keys."""
    # Editors tell of `else` what is missing, where of a third `anyOf` they would tell nothing.
    return {"if": {"anyOf": [{"required": [name]} for name in names]}, "else": needed}


def parted(schema: Schema) -> tuple[Schema, Schema]:
    """Return a schema without the keys that must be there, and one of nothing but these."""
    loose = {name: value for name, value in schema.items() if name != "required"}
    needed = {"required": schema["required"]} if "required" in schema else {}
    if "properties" in schema:
        parts = {name: parted(child) for name, child in schema["properties"].items()}
        loose["properties"] = {name: part for name, (part, _) in parts.items()}
        inner = {name: part for name, (_, part) in parts.items() if part}
        needed |= {"properties": inner} if inner else {}
    if isinstance(schema.get("additionalProperties"), dict):
        loose["additionalProperties"], inner = parted(schema["additionalProperties"])
        needed |= {"additionalProperties": inner} if inner else {}
    # What is needed of a mapping does not hold of null, so it need not know of it.
    if _NULL in schema.get("anyOf", ()) and len(schema["anyOf"]) == 2:
        inner_loose, inner = parted(schema["anyOf"][0])
        loose["anyOf"] = [inner_loose, _NULL]
        needed |= inner
    return loose, needed
