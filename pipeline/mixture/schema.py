"""The JSON Schema of mixture files, for editors and for people who write their own checks.

Enters: nothing. Leaves: a draft 2020-12 document, made from the same keys that check a file. It
knows names, types, bounds and patterns; rules between two keys are told in the descriptions and
checked by loading only. Invariant: what the schema refuses, loading refuses too.
"""

from typing import Any

from pipeline.mixture.values import MIXTURE


def document() -> dict[str, Any]:
    """Return the JSON Schema of a mixture file. Pure."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "mixture.schema.json",
        "title": "Mixture",
        "description": "Declares which documents become which training shards, in which order.",
        **MIXTURE.json_schema(),
    }
