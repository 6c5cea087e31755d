"""What is compared with the installed `tokenizers` each time the kernel is set up, in 40 ms.

Enters: nothing. Leaves: hostile strings, one for each rule, and whether classes still agree at
the boundaries of their ranges, where a library with other Unicode tables would differ. Code points
assigned later need no probe: they are not in our table and always go to the library.
"""

from collections.abc import Iterator
from functools import cache

from pipeline.stages.tokenizer import char_classes

STRINGS = [
    *("", " ", "  ", " a", "  a", "a ", "a  ", "\n", " \n", "  \n", "\n  ", "\t\t", "a\n b\n\n c"),
    *("'s", " 's", "  's", "\n's", "x's'S'll'lla've'r'd're'm't''t", "a 'tis", "1's2't!'d"),
    *("x" + " " * n + "y" for n in (2, 23, 24, 25, 26, 48, 49, 50)),
    *("x" + " " * n + tail for n in (25, 49) for tail in ("", "\n", "\nz", "\t\n", "'s", "\u00e9")),
    *("\x1c\x1f a", "\x85b\xa0 \xa0c", "\u2028\u3000\u3000d \u2003e", "1\u00b2\u0664\u2167"),
    *("caf\u00e9 cafe\u0301", "\u0915\u093c \u1e9b\u0323", "\uac00\u11a8", "a\u0315\u0300"),
    *("a \t [MASK]b", "[MASK] [MASK]", "[CLS][SEP]  x", "[unused0][unused82][unused83]", "[UNK"),
    *("|||IP_ADDRESS|||||||EMAIL_ADDRESS|||", "<|endoftext|><|padding|> <|pad|>", "[ MASK]"),
    *("\U0001f468\u200d\U0001f469", "\u4f60\u597d\u4e16\u754c", "-" * 70, "ab" * 60),
    "The quick brown fox's 12 jumps, we'll see: they've 3.14 don't I'm you're he'd \u201cso\u201d",
    "def f(x):\n    return [y for y in x]\n\n\n\tpass  # none\r\n\r\n        e = {'a': 1}\n",
]


@cache
def classes_agree() -> bool:
    """Whether the installed library has our class at both ends of each range of one class."""
    ends = list(_ends())
    return char_classes.probe([point for point, _ in ends]) == [kind for _, kind in ends]


def _ends() -> Iterator[tuple[int, int]]:
    """Yield first and last code points of maximal ranges of one class, with the class."""
    before, kind_before = -1, -1
    for start, stop, entry in char_classes.ranges():
        kind = entry & 3
        if start != before or kind != kind_before:
            if before >= 0:
                yield before - 1, kind_before
            yield start, kind
        before, kind_before = stop, kind
    yield before - 1, kind_before
