"""Options of each filter, under the names and with the defaults that `datatrove` gives them.

`length` and `regex` are plain and our own. An option that no dataclass here has, such as a writer
of what was dropped, would change no output. Fractions are exact, as fingerprints need them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal

from pipeline.config.fields import Section, apply_rule, key
from pipeline.config.filter_types import NgramShares, Pattern, Threshold
from pipeline.config.text_types import LINE
from pipeline.config.value_types import Choice, Flag, Nullable, OneOrMany, Ratio, Text, Whole
from pipeline.core.errors import ConfigError

_LARGEST: Final = 2**31 - 1


_COUNT: Final = Nullable(Whole(1, _LARGEST))
# To datatrove 0 and nothing are one, namely no limit; so 0 is refused where null says it.
_PART: Final = Nullable(Ratio(largest=1))
_PER_WORD: Final = Nullable(Ratio())
_OR_OFF: Final = Whole(-1, _LARGEST)
_FILE: Final = Nullable(
    Text(expected="the path of a file, relative to this file", pattern=LINE.pattern)
)
_LANGUAGE: Final = Text(expected="a code of a language such as eng", pattern=r"^[A-Za-z_]{2,20}$")


def _language(what: str) -> Any:
    described = f"Language by whose rules a text is split into {what}; one that spaCy splits."
    return field(default="eng", metadata=key(_LANGUAGE, described))


def _sort(options: Any, name: str) -> None:
    """Give a set of texts its one spelling."""
    if (texts := getattr(options, name)) is not None:
        object.__setattr__(options, name, tuple(sorted(set(texts))))


def length_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Complain of bounds that no text can meet."""
    low, high = given.get("min_chars"), given.get("max_chars")
    if low is not None and high is not None and high < low:
        yield "max_chars", f"got {high}, expected at least min_chars, here {low:,}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Length:
    """Documents by the length of their text."""

    min_chars: int = field(
        default=0, metadata=key(Whole(0, _LARGEST), "Fewest characters of a text.")
    )
    max_chars: int | None = field(default=None, metadata=key(_COUNT, "Most characters of a text."))

    def __post_init__(self) -> None:
        apply_rule(length_rule, self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Regex:
    """Documents by whether an expression is found in their text."""

    pattern: str = field(metadata=key(Pattern(), "What is looked for, anywhere in a text."))
    drop_if: Literal["found", "missing"] = field(
        default="found",
        metadata=key(Choice("found", "missing"), "Which documents are dropped."),
    )

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(f"pattern: got {self.pattern!r} ({error})") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class GopherQuality:
    """The rules of Gopher on words, symbols and lines; null leaves one out."""

    min_doc_words: int | None = field(default=50, metadata=key(_COUNT, "Fewest words."))
    max_doc_words: int | None = field(default=100_000, metadata=key(_COUNT, "Most words."))
    min_avg_word_length: int | None = field(
        default=3, metadata=key(_COUNT, "Fewest characters of a word on average.")
    )
    max_avg_word_length: int | None = field(
        default=10, metadata=key(_COUNT, "Most characters of a word on average.")
    )
    max_symbol_word_ratio: Fraction | None = field(
        default=Fraction(1, 10), metadata=key(_PER_WORD, "Most hashes, or ellipses, per word.")
    )
    max_bullet_lines_ratio: Fraction | None = field(
        default=Fraction(9, 10), metadata=key(_PART, "Most lines that begin with a bullet.")
    )
    max_ellipsis_lines_ratio: Fraction | None = field(
        default=Fraction(3, 10), metadata=key(_PART, "Most lines that end with an ellipsis.")
    )
    max_non_alpha_words_ratio: Fraction | None = field(
        default=Fraction(8, 10),
        metadata=key(_PART, "Fewest words with a letter, in spite of the name."),
    )
    min_stop_words: int | None = field(
        default=2, metadata=key(_COUNT, "Fewest different stop words.")
    )
    stop_words: tuple[str, ...] | None = field(
        default=None,
        metadata=key(Nullable(OneOrMany(LINE)), "Stop words; Gopher's eight English ones if null."),
    )
    language: str = _language("words")

    def __post_init__(self) -> None:
        _sort(self, "stop_words")


@dataclass(frozen=True, kw_only=True, slots=True)
class GopherRepetition:
    """The rules of Gopher on what recurs inside a text; null leaves one out."""

    dup_line_frac: Fraction | None = field(
        default=Fraction(3, 10), metadata=key(_PART, "Most lines seen before.")
    )
    dup_para_frac: Fraction | None = field(
        default=Fraction(3, 10), metadata=key(_PART, "Most paragraphs seen before.")
    )
    dup_line_char_frac: Fraction | None = field(
        default=Fraction(2, 10), metadata=key(_PART, "Most characters in lines seen before.")
    )
    dup_para_char_frac: Fraction | None = field(
        default=Fraction(2, 10), metadata=key(_PART, "Most characters in paragraphs seen before.")
    )
    top_n_grams: tuple[tuple[int, Fraction], ...] = field(
        default=((2, Fraction(20, 100)), (3, Fraction(18, 100)), (4, Fraction(16, 100))),
        metadata=key(NgramShares(), "By n, most characters in the most frequent n-gram of words."),
    )
    dup_n_grams: tuple[tuple[int, Fraction], ...] = field(
        default=tuple((n, Fraction(20 - n, 100)) for n in range(5, 11)),
        metadata=key(NgramShares(), "By n, most characters in n-grams of words seen before."),
    )
    language: str = _language("words")


@dataclass(frozen=True, kw_only=True, slots=True)
class C4Quality:
    """The rules of C4, which also leave lines out of a text that is kept."""

    split_paragraph: bool = field(
        default=True, metadata=key(Flag(), "Whether lines are judged, or else sentences.")
    )
    remove_citations: bool = field(
        default=True, metadata=key(Flag(), "Whether [1], [edit] and the like are left out.")
    )
    filter_no_terminal_punct: bool = field(
        default=True, metadata=key(Flag(), "Whether lines that end in no stop are left out.")
    )
    min_num_sentences: int = field(
        default=5, metadata=key(_OR_OFF, "Fewest sentences left; -1 for no limit.")
    )
    min_words_per_line: int = field(
        default=3, metadata=key(_OR_OFF, "Fewest words of a line; -1 for no limit.")
    )
    max_word_length: int = field(
        default=1000, metadata=key(_OR_OFF, "Most characters of a line's word; -1 for no limit.")
    )
    filter_lorem_ipsum: bool = field(
        default=True, metadata=key(Flag(), 'Whether documents with "lorem ipsum" are dropped.')
    )
    filter_javascript: bool = field(
        default=True, metadata=key(Flag(), 'Whether lines with "javascript" are left out.')
    )
    filter_curly_bracket: bool = field(
        default=True, metadata=key(Flag(), "Whether documents with { are dropped.")
    )
    filter_policy: bool = field(
        default=True, metadata=key(Flag(), "Whether lines about cookies and terms are left out.")
    )
    language: str = _language("sentences")


@dataclass(frozen=True, kw_only=True, slots=True)
class FineWebQuality:
    """The rules of FineWeb on lines."""

    line_punct_thr: Fraction = field(
        default=Fraction(12, 100), metadata=key(Threshold(), "Fewest lines that end in a stop.")
    )
    line_punct_exclude_zero: bool = field(
        default=False, metadata=key(Flag(), "Whether texts without any such line pass.")
    )
    stop_chars: tuple[str, ...] | None = field(
        default=None,
        metadata=key(Nullable(OneOrMany(LINE)), "What stops are; those of all scripts if null."),
    )
    short_line_thr: Fraction = field(
        default=Fraction(67, 100), metadata=key(Threshold(), "Most lines that are short.")
    )
    short_line_length: int = field(
        default=30, metadata=key(Whole(0, _LARGEST), "Most characters of a short line.")
    )
    char_duplicates_ratio: Fraction = field(
        default=Fraction(1, 100), metadata=key(Threshold(), "Most characters in lines seen before.")
    )
    new_line_ratio: Fraction = field(
        default=Fraction(3, 10), metadata=key(Threshold(1000), "Most line ends per word.")
    )
    language: str = _language("words")

    def __post_init__(self) -> None:
        _sort(self, "stop_chars")


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """Documents by their language, as a fastText model tells it."""

    model: str = field(
        metadata=key(_FILE.kind, "The fastText model, such as lid.176.bin, relative to this file.")
    )
    languages: tuple[str, ...] | None = field(
        default=None,
        metadata=key(
            Nullable(OneOrMany(LINE)),
            "Languages to keep, by the model's labels less __label__; any if null.",
        ),
    )
    language_threshold: Fraction = field(
        default=Fraction(65, 100),
        metadata=key(Threshold(), "Score that one of them must pass; without any, the best one."),
    )
    backend: Literal["ft176", "glotlid"] = field(
        default="ft176",
        metadata=key(Choice("ft176", "glotlid"), "Which model it is: one of en, or of eng_Latn."),
    )

    def __post_init__(self) -> None:
        _sort(self, "languages")


@dataclass(frozen=True, kw_only=True, slots=True)
class Url:
    """Documents by the address in their metadata; a list is a file, one entry a line."""

    soft_word_threshold: int = field(
        default=2, metadata=key(Whole(1, _LARGEST), "Fewest soft banned words that drop.")
    )
    extra_domains: str | None = field(
        default=None, metadata=key(_FILE, "List of domains and hosts to drop.")
    )
    extra_urls: str | None = field(
        default=None, metadata=key(_FILE, "List of whole addresses to drop.")
    )
    banned_words: str | None = field(
        default=None, metadata=key(_FILE, "List of words of which an address has none.")
    )
    banned_subwords: str | None = field(
        default=None, metadata=key(_FILE, "List of parts of words of which an address has none.")
    )
    soft_banned_words: str | None = field(
        default=None, metadata=key(_FILE, "List of words of which an address has few.")
    )
    use_integrated_lists: bool = field(
        default=True, metadata=key(Flag(), "Whether the lists of datatrove count, too.")
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pii:
    """Replaces e-mail and IP addresses; drops nothing."""

    remove_emails: bool = field(
        default=True, metadata=key(Flag(), "Whether e-mail addresses are replaced.")
    )
    remove_ips: bool = field(
        default=True, metadata=key(Flag(), "Whether IP addresses are replaced.")
    )
    only_remove_public_ips: bool = field(
        default=True, metadata=key(Flag(), "Whether addresses of private networks stay.")
    )
    email_replacement: tuple[str, ...] = field(
        default=("email@example.com", "firstname.lastname@example.org"),
        metadata=key(OneOrMany(LINE), "What takes their place, by turns within a text."),
    )
    ip_replacement: tuple[str, ...] = field(
        default=(
            "22.214.171.124",
            "126.96.36.199",
            "188.8.131.52",
            "184.108.40.206",
            "220.127.116.11",
            "18.104.22.168",
        ),
        metadata=key(OneOrMany(LINE), "What takes their place, by turns within a text."),
    )


RECORDS: Final[dict[str, Section]] = {
    "length": Section(Length, length_rule),
    "regex": Section(Regex),
    "gopher_quality": Section(GopherQuality),
    "gopher_repetition": Section(GopherRepetition),
    "c4_quality": Section(C4Quality),
    "fineweb_quality": Section(FineWebQuality),
    "language": Section(Language),
    "url": Section(Url),
    "pii": Section(Pii),
}
"""The options of each filter, by its name."""
