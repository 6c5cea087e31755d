"""The JSON Schema of recipe files, for editors and for people who write their own checks.

Enters: nothing. Leaves: a draft 2020-12 document, made from the same keys that check a file; one
that `extends` others may leave out what those say. It knows names, types, bounds and patterns; what
two keys say of each other is told in the descriptions and checked by loading only. Invariant: what
the schema refuses, loading refuses too.
"""

from typing import Any

from pipeline.config.json_schema import extending, parted, unless
from pipeline.config.recipe import RECIPE


def document() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file. Pure."""
    recipe, needed = parted(RECIPE.json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "recipe.schema.json",
        "title": "Recipe",
        "description": "Declares how a model is trained in one phase, beside its data.",
        "type": "object",
        "additionalProperties": False,
        "properties": {**extending(), **recipe["properties"]},
        "allOf": [unless(["extends"], needed)],
    }
