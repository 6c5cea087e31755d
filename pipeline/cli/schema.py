"""`ettin-data schema`."""

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_json


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(verbs, "schema", run, "print the JSON Schema of mixture or recipe files")
    parser.add_argument(
        "kind",
        nargs="?",
        choices=("mixture", "recipe"),
        default="mixture",
        help="kind of file (default: mixture)",
    )


def run(parsed: Arguments) -> int:
    """Print a schema."""
    from pipeline.config import mixture_schema, recipe_schema

    print_json(mixture_schema() if parsed.kind == "mixture" else recipe_schema())
    return 0
