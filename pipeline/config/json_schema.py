"""The JSON Schemas (draft 2020-12) of mixture, recipe and about files, from what checks them.

A file that `extends` another may omit what that says. Rules between two keys are checked by loading
only. Invariant: what a schema refuses, loading refuses too.
"""

from typing import Any, Final

from pipeline.config.about import About
from pipeline.config.compose import EXTENDS
from pipeline.config.mixture import Mixture
from pipeline.config.recipe import Recipe
from pipeline.config.replay import Replay
from pipeline.config.settings import Section
from pipeline.config.value_types import Schema

_SOURCE: Final = {"$ref": "#/$defs/source"}
_NULL: Final = {"type": "null"}
_EXTENDS: Final = {
    "extends": {
        "description": "Another file, or several, relative to this one, with settings that this "
        "one lacks, later files over earlier ones: mappings are merged deeply, everything else is "
        "replaced.",
        **EXTENDS.json_schema(),
    }
}
_COMPOSED: Final = {
    **_EXTENDS,
    "origins": {
        "description": "Settings shared by sources of the same name, or that name it as their "
        "origin, where they do not set them themselves.",
        "type": "object",
        "additionalProperties": _SOURCE,
    },
}
_ORIGIN: Final = {
    "origin": {
        "description": "Name under origins of the settings that this source lacks; by default its "
        "own name.",
        "type": "string",
    }
}


def mixture_schema() -> dict[str, Any]:
    """Return the schema of files that build a mixture or replay a `pool`. Pure."""
    mixture, required = _split(Section(Mixture).json_schema())
    replay, required_to_replay = _split(Section(Replay).json_schema())
    # Only an order without a file has no name.
    required_to_replay["required"].append("name")
    sources = mixture["properties"]["sources"]
    source = sources["additionalProperties"]
    required_of_sources = required["properties"].pop("sources")
    properties = {
        **_COMPOSED,
        **mixture["properties"],
        "sources": {**sources, "additionalProperties": {"anyOf": [_SOURCE, _NULL]}},
        "pool": replay["properties"]["pool"],
    }
    is_replay = {"required": ["pool"]}
    of_replay = {"propertyNames": {"enum": [*_COMPOSED, *replay["properties"]]}}
    description = (
        "Declares which documents become which training shards, in which order; or, with a pool, "
        "whose rows are put in order."
    )
    return {
        **_head("mixture", description),
        "properties": properties,
        "$defs": {"source": {**source, "properties": {**_ORIGIN, **source["properties"]}}},
        "allOf": [
            _unless(["extends", "pool"], required),
            _unless(["extends", "origins"], {"properties": {"sources": required_of_sources}}),
            {"if": is_replay, "then": of_replay},
            {"if": is_replay, "then": _unless(["extends"], required_to_replay)},
        ],
    }


def recipe_schema() -> dict[str, Any]:
    recipe, required = _split(Section(Recipe).json_schema())
    return {
        **_head("recipe", "Declares how a model is trained in one phase, besides its data."),
        "properties": {**_EXTENDS, **recipe["properties"]},
        "allOf": [_unless(["extends"], required)],
    }


def about_schema() -> dict[str, Any]:
    """Return the schema of files that say what no mixture does, for `bundle`. Pure."""
    description = "What is known of a data set that no mixture says, to be published with it."
    return {**_head("about", description), **Section(About).json_schema()}


def _head(kind: str, description: str) -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{kind}.schema.json",
        "title": kind.capitalize(),
        "description": description,
        "type": "object",
        "additionalProperties": False,
    }


def _unless(names: list[str], required: Schema) -> Schema:
    """Return that a file needs something if it has none of the keys."""
    # With `else`, editors say what is missing; with a third `anyOf` they would say nothing.
    return {"if": {"anyOf": [{"required": [name]} for name in names]}, "else": required}


def _split(schema: Schema) -> tuple[Schema, Schema]:
    """Split a schema in two: one without the required keys, and one with nothing but those."""
    loose = {name: value for name, value in schema.items() if name != "required"}
    required = {"required": schema["required"]} if "required" in schema else {}
    if "properties" in schema:
        parts = {name: _split(child) for name, child in schema["properties"].items()}
        loose["properties"] = {name: part for name, (part, _) in parts.items()}
        inner = {name: part for name, (_, part) in parts.items() if part}
        required |= {"properties": inner} if inner else {}
    if isinstance(schema.get("additionalProperties"), dict):
        loose["additionalProperties"], inner = _split(schema["additionalProperties"])
        required |= {"additionalProperties": inner} if inner else {}
    # What a mapping requires does not apply to null, so it need not mention it.
    if _NULL in schema.get("anyOf", ()) and len(schema["anyOf"]) == 2:
        inner_loose, inner = _split(schema["anyOf"][0])
        loose["anyOf"] = [inner_loose, _NULL]
        required |= inner
    return loose, required
