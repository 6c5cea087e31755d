"""`ettin-data schema`."""

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_json


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "schema",
        run,
        "print the JSON Schema of mixture, recipe or about files",
        "With it, an editor completes and checks their keys.",
        examples=(
            "ettin-data schema > mixture.schema.json",
            "ettin-data schema recipe > recipe.schema.json",
        ),
        guide="docs/guide/custom-mixture.md#write-a-mixture",
    )
    what = "kind of file that the schema is for"
    options.add("kind {mixture,recipe,about}", what, default="mixture", nargs="?")


def run(parsed: Arguments) -> int:
    from pipeline.config import about_schema, mixture_schema, recipe_schema

    schemas = {"mixture": mixture_schema, "recipe": recipe_schema, "about": about_schema}
    print_json(schemas[parsed.kind]())
    return 0
