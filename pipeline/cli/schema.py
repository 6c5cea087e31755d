"""`ettin-data schema`."""

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_json


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "schema",
        run,
        "print the JSON Schema of mixture or recipe files",
        "With it, an editor completes and checks their keys.",
        examples=(
            "ettin-data schema > mixture.schema.json",
            "ettin-data schema recipe > recipe.schema.json",
        ),
        guide="docs/guide/custom-mixture.md#write-a-mixture",
    )
    options.add(
        "kind {mixture,recipe}", "kind of file that the schema is for", default="mixture", nargs="?"
    )


def run(parsed: Arguments) -> int:
    from pipeline.config import mixture_schema, recipe_schema

    print_json(mixture_schema() if parsed.kind == "mixture" else recipe_schema())
    return 0
