"""Filters of a source, under the names and with the defaults that `datatrove` gives them.

`length` and `regex` are plain and our own. An option missing here, such as a writer of dropped
documents, would change no output. Fractions are exact, as fingerprints need them.
"""

import re
from fractions import Fraction
from typing import Any, Final, Literal

from pipeline.config.settings import Complaints, Given, Section, setting, settings
from pipeline.config.value_types import (
    LARGEST_COUNT,
    LINE,
    NAME,
    WRONG,
    Integer,
    ListOf,
    Nullable,
    Number,
    OneOrMany,
    Pair,
    Pattern,
    Schema,
    Text,
    closest,
    reject,
)
from pipeline.config.yaml_nodes import Node, Problems

FORMATTERS: Final = frozenset({"c4_quality", "pii"})
"""Filters that change texts, so that later ones and the output see what they made."""

_COUNT: Final = Integer(1, LARGEST_COUNT)
# To datatrove 0 and None both mean no limit; so 0 is refused, and null says it.
_LIMIT: Final = Nullable(_COUNT)
_SHARE: Final = Nullable(Number())
_PER_WORD: Final = Nullable(Number(1000))
_THRESHOLD: Final = Number(zero=True)
_OR_OFF: Final = Integer(-1, LARGEST_COUNT)
_LINES: Final = Nullable(OneOrMany(LINE))
_MODEL: Final = Text(expected="the path of a file, relative to this file", pattern=LINE.pattern)
_FILE: Final = Nullable(_MODEL)
_LANGUAGE: Final = Text(expected="a language code such as eng", pattern=r"^[A-Za-z_]{2,20}$")
_NGRAM_SHARES: Final = ListOf(
    Pair((Integer(1, 1000), _THRESHOLD), expected="a pair such as [2, 0.2]"),
    expected="a list of pairs such as [[2, 0.2], [3, 0.18]]",
)


@settings
class Length:
    """Documents by the length of their text."""

    min_chars: int = setting("Minimum characters.", Integer(0, LARGEST_COUNT), default=0)
    max_chars: int | None = setting("Maximum characters.", _LIMIT, default=None)

    @staticmethod
    def rule(given: Given) -> Complaints:
        low, high = given.get("min_chars"), given.get("max_chars")
        if low is not None and high is not None and high < low:
            yield "max_chars", f"got {high}, expected at least min_chars, here {low:,}"


@settings
class Regex:
    """Documents by whether an expression is found in their text."""

    pattern: str = setting("What is searched for, anywhere in a text.", Pattern())
    drop_if: Literal["found", "missing"] = setting("Which documents are dropped.", default="found")

    @staticmethod
    def rule(given: Given) -> Complaints:
        try:
            re.compile(given.get("pattern", ""))
        except re.error as error:
            yield "pattern", f"got {given['pattern']!r} ({error}), expected {Pattern.expected}"


@settings
class GopherQuality:
    """Gopher's rules on words, symbols and lines; null disables one."""

    min_doc_words: int | None = setting("Minimum words.", _LIMIT, default=50)
    max_doc_words: int | None = setting("Maximum words.", _LIMIT, default=100_000)
    min_avg_word_length: int | None = setting(
        "Minimum mean characters of a word.", _LIMIT, default=3
    )
    max_avg_word_length: int | None = setting(
        "Maximum mean characters of a word.", _LIMIT, default=10
    )
    max_symbol_word_ratio: Fraction | None = setting(
        "Maximum hashes, or ellipses, per word.", _PER_WORD, default=Fraction(1, 10)
    )
    max_bullet_lines_ratio: Fraction | None = setting(
        "Maximum share of lines that begin with a bullet.", _SHARE, default=Fraction(9, 10)
    )
    max_ellipsis_lines_ratio: Fraction | None = setting(
        "Maximum share of lines that end with an ellipsis.", _SHARE, default=Fraction(3, 10)
    )
    max_non_alpha_words_ratio: Fraction | None = setting(
        "Minimum share of words with a letter, in spite of the name.",
        _SHARE,
        default=Fraction(8, 10),
    )
    min_stop_words: int | None = setting("Minimum different stop words.", _LIMIT, default=2)
    stop_words: tuple[str, ...] | None = setting(
        "Stop words; Gopher's eight English ones if null.", _LINES, default=None, is_set=True
    )
    language: str = setting(
        "Language by whose rules spaCy splits a text into words.", _LANGUAGE, default="eng"
    )


@settings
class GopherRepetition:
    """Gopher's rules on repetition inside a text; null disables one."""

    dup_line_frac: Fraction | None = setting(
        "Maximum share of repeated lines.", _SHARE, default=Fraction(3, 10)
    )
    dup_para_frac: Fraction | None = setting(
        "Maximum share of repeated paragraphs.", _SHARE, default=Fraction(3, 10)
    )
    dup_line_char_frac: Fraction | None = setting(
        "Maximum share of characters in repeated lines.", _SHARE, default=Fraction(2, 10)
    )
    dup_para_char_frac: Fraction | None = setting(
        "Maximum share of characters in repeated paragraphs.", _SHARE, default=Fraction(2, 10)
    )
    top_n_grams: tuple[tuple[int, Fraction], ...] = setting(
        "By n, maximum share of characters in the most frequent n-gram of words.",
        _NGRAM_SHARES,
        default=((2, Fraction(20, 100)), (3, Fraction(18, 100)), (4, Fraction(16, 100))),
    )
    dup_n_grams: tuple[tuple[int, Fraction], ...] = setting(
        "By n, maximum share of characters in repeated n-grams of words.",
        _NGRAM_SHARES,
        default=tuple((n, Fraction(20 - n, 100)) for n in range(5, 11)),
    )
    language: str = setting(
        "Language by whose rules spaCy splits a text into words.", _LANGUAGE, default="eng"
    )


@settings
class C4Quality:
    """C4's rules, which also remove lines from a text that is kept."""

    split_paragraph: bool = setting("Whether to judge lines, or else sentences.", default=True)
    remove_citations: bool = setting("Whether to remove [1], [edit] and the like.", default=True)
    filter_no_terminal_punct: bool = setting(
        "Whether to remove lines without terminal punctuation.", default=True
    )
    min_num_sentences: int = setting("Minimum sentences left; -1 for no limit.", _OR_OFF, default=5)
    min_words_per_line: int = setting(
        "Minimum words per line; -1 for no limit.", _OR_OFF, default=3
    )
    max_word_length: int = setting(
        "Maximum characters of a line's word; -1 for no limit.", _OR_OFF, default=1000
    )
    filter_lorem_ipsum: bool = setting(
        'Whether to drop documents with "lorem ipsum".', default=True
    )
    filter_javascript: bool = setting('Whether to remove lines with "javascript".', default=True)
    filter_curly_bracket: bool = setting("Whether to drop documents with {.", default=True)
    filter_policy: bool = setting(
        "Whether to remove lines about cookies and terms of use.", default=True
    )
    language: str = setting(
        "Language by whose rules spaCy splits a text into sentences.", _LANGUAGE, default="eng"
    )


@settings
class FineWebQuality:
    """FineWeb's rules on lines."""

    line_punct_thr: Fraction = setting(
        "Minimum share of lines that end in a stop.", _THRESHOLD, default=Fraction(12, 100)
    )
    line_punct_exclude_zero: bool = setting(
        "Whether texts without any such line pass.", default=False
    )
    stop_chars: tuple[str, ...] | None = setting(
        "Which characters are stops; those of all scripts if null.",
        _LINES,
        default=None,
        is_set=True,
    )
    short_line_thr: Fraction = setting(
        "Maximum share of short lines.", _THRESHOLD, default=Fraction(67, 100)
    )
    short_line_length: int = setting(
        "Maximum characters of a short line.", Integer(0, LARGEST_COUNT), default=30
    )
    char_duplicates_ratio: Fraction = setting(
        "Maximum share of characters in repeated lines.", _THRESHOLD, default=Fraction(1, 100)
    )
    new_line_ratio: Fraction = setting(
        "Maximum line ends per word.", Number(1000, zero=True), default=Fraction(3, 10)
    )
    language: str = setting(
        "Language by whose rules spaCy splits a text into words.", _LANGUAGE, default="eng"
    )


@settings
class Language:
    """Documents by their language, as a fastText model predicts it."""

    model: str = setting("The fastText model, such as lid.176.bin, relative to this file.", _MODEL)
    languages: tuple[str, ...] | None = setting(
        "Languages to keep, as labels of the model without __label__; any if null.",
        _LINES,
        default=None,
        is_set=True,
    )
    language_threshold: Fraction = setting(
        "Score that one of `languages` must exceed; where that is null, the most likely one.",
        _THRESHOLD,
        default=Fraction(65, 100),
    )
    backend: Literal["ft176", "glotlid"] = setting(
        "Which model it is: one with labels like en, or like eng_Latn.", default="ft176"
    )


@settings
class Url:
    """Documents by the URL in their metadata; a list is a file with one entry per line."""

    soft_word_threshold: int = setting(
        "Number of soft banned words from which a document is dropped.", _COUNT, default=2
    )
    extra_domains: str | None = setting("List of domains and hosts to drop.", _FILE, default=None)
    extra_urls: str | None = setting("List of whole URLs to drop.", _FILE, default=None)
    banned_words: str | None = setting(
        "List of words that no URL may contain.", _FILE, default=None
    )
    banned_subwords: str | None = setting(
        "List of parts of words that no URL may contain.", _FILE, default=None
    )
    soft_banned_words: str | None = setting(
        "List of words that a URL may contain few of.", _FILE, default=None
    )
    use_integrated_lists: bool = setting("Whether to use datatrove's lists, too.", default=True)


@settings
class Pii:
    """Replaces e-mail and IP addresses; drops nothing."""

    remove_emails: bool = setting("Whether to replace e-mail addresses.", default=True)
    remove_ips: bool = setting("Whether to replace IP addresses.", default=True)
    only_remove_public_ips: bool = setting(
        "Whether to keep addresses of private networks.", default=True
    )
    email_replacement: tuple[str, ...] = setting(
        "What replaces them, in turn within a text.",
        OneOrMany(LINE),
        default=("email@example.com", "firstname.lastname@example.org"),
    )
    ip_replacement: tuple[str, ...] = setting(
        "What replaces them, in turn within a text.",
        OneOrMany(LINE),
        default=(
            "22.214.171.124",
            "126.96.36.199",
            "188.8.131.52",
            "184.108.40.206",
            "220.127.116.11",
            "18.104.22.168",
        ),
    )


FILTER_OPTIONS: Final[dict[str, type[Any]]] = {
    "length": Length,
    "regex": Regex,
    "gopher_quality": GopherQuality,
    "gopher_repetition": GopherRepetition,
    "c4_quality": C4Quality,
    "fineweb_quality": FineWebQuality,
    "language": Language,
    "url": Url,
    "pii": Pii,
}
"""The class of each filter's options, by the filter's name."""


@settings
class Filter:
    """One filter with its options."""

    name: str = setting("Which filter.", NAME)
    options: Any = setting("A value of a class of `FILTER_OPTIONS`.", Section(Length))


class FilterType:
    """A filter: its name, or a mapping from its name to its options."""

    expected = "a name, or one name with options"

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        """Return the `Filter`, or WRONG after saying why."""
        if node.kind == "text":
            name, options = node.text, Node(kind="mapping", place=node.place)
        elif node.kind == "mapping" and len(node.entries) == 1:
            [(name, entry)] = node.entries.items()
            options = entry.node
        else:
            return reject(node, where, problems, self.expected)
        if name not in FILTER_OPTIONS:
            known = f"one of {', '.join(FILTER_OPTIONS)}{closest(name, FILTER_OPTIONS)}"
            problems.add(node.place, where, f'got "{name}", expected {known}')
            return WRONG
        value = Section(FILTER_OPTIONS[name]).check(options, f"{where}.{name}", problems)
        return WRONG if value is WRONG else Filter(name=name, options=value)

    def json_schema(self) -> Schema:
        """Return the JSON Schema of what `check` accepts."""
        named = [
            {
                "type": "object",
                "properties": {name: Section(options).json_schema()},
                "required": [name],
                "additionalProperties": False,
            }
            for name, options in FILTER_OPTIONS.items()
        ]
        return {"anyOf": [{"enum": list(FILTER_OPTIONS)}, *named]}


FILTERS: Final = ListOf(
    FilterType(), expected=f"a list of filters, each one of {', '.join(FILTER_OPTIONS)}"
)
