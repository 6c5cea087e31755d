"""Kinds of text that several parts of a mixture hold: names, lines, globs, revisions."""

from typing import Final

from pipeline.config.value_types import Text

LARGEST_SEED: Final = 2**32 - 1

# Names become folders, so they stay plain, short and without a way up.
NAME: Final = Text(
    expected="a name (letters, digits, . _ -; at most 100; first a letter or digit; no ..)",
    pattern=r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
)
# Beside the folders of the sources lies their common index.
SOURCE_NAME: Final = Text(
    expected=f"{NAME.expected}, and not index.json",
    pattern=NAME.pattern.replace("^", "^(?!index\\.json$)"),
)
LINE: Final = Text(expected="a line of text", pattern=r"^[^\x00-\x1f\x7f]+$")
GLOB: Final = Text(expected="a glob of files", pattern=LINE.pattern)

HUB_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
TOKENIZER_NAME: Final = Text(
    expected="modernbert, the path of a .json file, or a Hub id org/name",
    pattern=rf"^(?:modernbert|[^\x00-\x1f\x7f]+\.json|{HUB_ID})$",
    known=("modernbert",),
)
REVISION: Final = Text(expected="a commit of 40 hex characters", pattern=r"^[0-9a-f]{40}$")
