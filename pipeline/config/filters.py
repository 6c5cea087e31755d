"""Filters of a source, with the names and defaults of `datatrove`; `length` and `regex` are ours.

Those of a mixture's own are in `own_filters`. Options of `datatrove` that change no output are
missing. Fractions are exact, for fingerprints.
"""

import json
import re
from fractions import Fraction
from typing import Any, Final, Literal

from pipeline.config.own_filters import Datatrove, Python
from pipeline.config.settings import (
    Complaints,
    Given,
    Section,
    optional,
    setting,
    settings,
    settings_of,
)
from pipeline.config.value_types import (
    LARGEST_COUNT,
    LINE,
    NAME,
    REGULAR_EXPRESSION,
    WRONG,
    Integer,
    ListOf,
    Number,
    OneOrMany,
    Pair,
    Schema,
    Text,
    closest,
    reject,
)
from pipeline.config.yaml_nodes import Entry, Node, Problems

FORMATTERS: Final = frozenset({"c4_quality", "pii"})
"""Filters that change texts, of those that are no code of a mixture's own."""

_COUNT: Final = Integer(1, LARGEST_COUNT)
_OR_OFF: Final = Integer(-1, LARGEST_COUNT)
_THRESHOLD: Final = Number(zero=True)
_LINES: Final = OneOrMany(LINE)
_FILE: Final = Text(expected="the path of a file, relative to this file", pattern=LINE.pattern)
_LANGUAGE: Final = Text(expected="a language code such as eng", pattern=r"^[A-Za-z_]{2,20}$")
_NGRAM_SHARES: Final = ListOf(
    Pair((Integer(1, 1000), _THRESHOLD), expected="a pair such as [2, 0.2]"),
    expected="a list of pairs such as [[2, 0.2], [3, 0.18]]",
)


# To datatrove 0 and None both mean no limit; so 0 is refused, and null says it.
def _limit(description: str, default: int | None) -> Any:
    return optional(description, _COUNT, default=default)


def _share(description: str, percent: int) -> Any:
    return optional(description, Number(), default=Fraction(percent, 100))


def _threshold(description: str, percent: int) -> Any:
    return setting(description, _THRESHOLD, default=Fraction(percent, 100))


def _language(units: str) -> Any:
    described = f"Language by whose rules spaCy splits a text into {units}."
    return setting(described, _LANGUAGE, default="eng")


@settings
class Length:
    min_chars: int = setting("Minimum characters.", Integer(0, LARGEST_COUNT), default=0)
    max_chars: int | None = _limit("Maximum characters.", None)

    @staticmethod
    def rule(given: Given) -> Complaints:
        low, high = given.get("min_chars"), given.get("max_chars")
        if low is not None and high is not None and high < low:
            yield "max_chars", high, f"at least min_chars, here {low:,}"


@settings
class Regex:
    pattern: str = setting("What is searched for, anywhere in a text.", REGULAR_EXPRESSION)
    drop_if: Literal["found", "missing"] = setting("Which documents are dropped.", default="found")

    @staticmethod
    def rule(given: Given) -> Complaints:
        try:
            re.compile(given.get("pattern", ""))
        except re.error as error:
            got = f"{json.dumps(given['pattern'], ensure_ascii=False)} ({error})"
            yield "pattern", got, REGULAR_EXPRESSION.expected


@settings
class GopherQuality:
    """Gopher's rules on words, symbols and lines; null disables one."""

    min_doc_words: int | None = _limit("Minimum words.", 50)
    max_doc_words: int | None = _limit("Maximum words.", 100_000)
    min_avg_word_length: int | None = _limit("Minimum mean characters of a word.", 3)
    max_avg_word_length: int | None = _limit("Maximum mean characters of a word.", 10)
    max_symbol_word_ratio: Fraction | None = optional(
        "Maximum hashes, or ellipses, per word.", Number(1000), default=Fraction(1, 10)
    )
    max_bullet_lines_ratio: Fraction | None = _share(
        "Maximum share of lines that begin with a bullet.", 90
    )
    max_ellipsis_lines_ratio: Fraction | None = _share(
        "Maximum share of lines that end with an ellipsis.", 30
    )
    max_non_alpha_words_ratio: Fraction | None = _share(
        "Minimum share of words with a letter, in spite of the name.", 80
    )
    min_stop_words: int | None = _limit("Minimum different stop words.", 2)
    stop_words: tuple[str, ...] | None = optional(
        "Stop words; Gopher's eight English ones if null.", _LINES, is_set=True
    )
    language: str = _language("words")


@settings
class GopherRepetition:
    """Gopher's rules on repetition inside a text; null disables one."""

    dup_line_frac: Fraction | None = _share("Maximum share of repeated lines.", 30)
    dup_para_frac: Fraction | None = _share("Maximum share of repeated paragraphs.", 30)
    dup_line_char_frac: Fraction | None = _share(
        "Maximum share of characters in repeated lines.", 20
    )
    dup_para_char_frac: Fraction | None = _share(
        "Maximum share of characters in repeated paragraphs.", 20
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
    language: str = _language("words")


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
    max_word_length: int = setting("Maximum word length; -1 for no limit.", _OR_OFF, default=1000)
    filter_lorem_ipsum: bool = setting('Whether to drop texts with "lorem ipsum".', default=True)
    filter_javascript: bool = setting('Whether to remove lines with "javascript".', default=True)
    filter_curly_bracket: bool = setting("Whether to drop texts with {.", default=True)
    filter_policy: bool = setting("Whether to remove lines about cookies and terms.", default=True)
    language: str = _language("sentences")


@settings
class FineWebQuality:
    """FineWeb's rules on lines."""

    line_punct_thr: Fraction = _threshold("Minimum share of lines that end in a stop.", 12)
    line_punct_exclude_zero: bool = setting("Whether texts without such lines pass.", default=False)
    stop_chars: tuple[str, ...] | None = optional(
        "Which characters are stops; those of all scripts if null.", _LINES, is_set=True
    )
    short_line_thr: Fraction = _threshold("Maximum share of short lines.", 67)
    short_line_length: int = setting(
        "Maximum characters of a short line.", Integer(0, LARGEST_COUNT), default=30
    )
    char_duplicates_ratio: Fraction = _threshold(
        "Maximum share of characters in repeated lines.", 1
    )
    new_line_ratio: Fraction = setting(
        "Maximum line ends per word.", Number(1000, zero=True), default=Fraction(3, 10)
    )
    language: str = _language("words")


@settings
class Language:
    """Documents by their language, as a fastText model predicts it."""

    model: str = setting("The fastText model, such as lid.176.bin, relative to this file.", _FILE)
    languages: tuple[str, ...] | None = optional(
        "Languages to keep, as labels of the model without __label__; any if null.",
        _LINES,
        is_set=True,
    )
    language_threshold: Fraction = _threshold(
        "Score that one of `languages` must exceed; where that is null, the most likely one.", 65
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
    extra_domains: str | None = optional("List of domains and hosts to drop.", _FILE)
    extra_urls: str | None = optional("List of whole URLs to drop.", _FILE)
    banned_words: str | None = optional("List of words that no URL may contain.", _FILE)
    banned_subwords: str | None = optional("List of substrings that no URL may contain.", _FILE)
    soft_banned_words: str | None = optional("List of words that URLs may contain few of.", _FILE)
    use_integrated_lists: bool = setting("Whether to use datatrove's lists, too.", default=True)


@settings
class Pii:
    """Replaces e-mail and IP addresses; drops nothing."""

    remove_emails: bool = setting("Whether to replace e-mail addresses.", default=True)
    remove_ips: bool = setting("Whether to replace IP addresses.", default=True)
    only_remove_public_ips: bool = setting("Whether to keep private IP addresses.", default=True)
    email_replacement: tuple[str, ...] = setting(
        "What replaces them, in turn within a text.",
        _LINES,
        default=("email@example.com", "firstname.lastname@example.org"),
    )
    ip_replacement: tuple[str, ...] = setting(
        "What replaces them, in turn within a text.",
        _LINES,
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
    "python": Python,
    "datatrove": Datatrove,
}


@settings
class Filter:
    name: str = setting("Which filter.", NAME)
    options: Any = setting("A value of a class of `FILTER_OPTIONS`.", Section(Length))

    @property
    def is_code(self) -> bool:
        """Whether it runs code that the mixture names."""
        return isinstance(self.options, Python | Datatrove)

    @property
    def label(self) -> str:
        """What its reasons begin with: its name, and of code what is called."""
        return f"{self.name}:{self.options.name}" if self.is_code else self.name

    @property
    def may_rewrite(self) -> bool:
        """Whether it may change texts: which of datatrove's classes do, nothing says."""
        if isinstance(self.options, Python):
            return self.options.returns == "text"
        return self.name in FORMATTERS or isinstance(self.options, Datatrove)


class FilterType:
    """A filter: its name, or a mapping from its name to its options."""

    expected = "a name, or one name with options"

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind == "text":
            name, options = node.text, Node(kind="mapping", place=node.place)
        elif node.kind == "mapping" and len(node.entries) == 1:
            [(name, entry)] = node.entries.items()
            options = entry.node
        else:
            return reject(node, where, problems, self.expected)
        if name not in FILTER_OPTIONS:
            known = f"one of {', '.join(FILTER_OPTIONS)}{closest(name, FILTER_OPTIONS)}"
            return reject(node, where, problems, known, f'"{name}"')
        short = getattr(FILTER_OPTIONS[name], "short", None)
        if short is not None and options.kind == "text":
            entry = Entry(place=options.place, node=options)
            options = Node(kind="mapping", place=options.place, entries={short: entry})
        value = Section(FILTER_OPTIONS[name]).check(options, f"{where}.{name}", problems)
        return WRONG if value is WRONG else Filter(name=name, options=value)

    def json_schema(self) -> Schema:
        named = [
            {
                "type": "object",
                "properties": {name: _options_schema(options)},
                "required": [name],
                "additionalProperties": False,
            }
            for name, options in FILTER_OPTIONS.items()
        ]
        return {"anyOf": [{"enum": list(FILTER_OPTIONS)}, *named]}


def _options_schema(options: type[Any]) -> Schema:
    whole, short = Section(options).json_schema(), getattr(options, "short", None)
    if short is None:
        return whole
    return {"anyOf": [settings_of(options)[short].type.json_schema(), whole]}


FILTERS: Final = ListOf(
    FilterType(), expected=f"a list of filters, each one of {', '.join(FILTER_OPTIONS)}"
)
