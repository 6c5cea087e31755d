"""Filters as the tests declare and ask them, beside datatrove's own, and texts for each reason."""

import gzip
import json
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from datatrove.data import Document as TheirDocument
from datatrove.pipeline import filters as their_filters
from datatrove.pipeline.formatters import PIIFormatter
from support.paths import SHARED

from pipeline.config.filters import FILTER_OPTIONS, Filter
from pipeline.config.load import load_mixture
from pipeline.core.document import Document
from pipeline.stages.filters.chain import FilterChain, make_filters

DATA = SHARED / "data"
QUALITY = {
    "gopher_quality": their_filters.GopherQualityFilter,
    "gopher_repetition": their_filters.GopherRepetitionFilter,
    "c4_quality": their_filters.C4QualityFilter,
    "fineweb_quality": their_filters.FineWebQualityFilter,
}
THEIRS = {
    **QUALITY,
    "language": their_filters.LanguageFilter,
    "url": their_filters.URLFilter,
    "pii": PIIFormatter,
}
# Where what was dropped is written, and labels that would end in no output.
LEFT_OUT = {"exclusion_writer", "label_only", "keep_top_pairs_threshold"}

GOOD = "The people of the town have to be with that and they walk over the old bridge every day. "
# One line without a stop, a repeated word or a stop word.
PLAIN = "quick brown foxes jumped across several lazy sleeping dogs near rivers"
# Sentences that do not repeat each other.
VARIED = " ".join(f"Number {n} of these stories tells about {n * 37} people." for n in range(12))


def mixture(filters: str) -> str:
    return (
        "name: made\nchunk: {size: 64}\n"
        f"sources: {{web: {{from: {{path: a.jsonl}}, filters: {filters}}}}}\n"
        "order: {seed: 1, global_batch_size: 1, max_seq_len: 64}\n"
    )


def declared(filters: str) -> tuple[Filter, ...]:
    """Read a list of filters as a mixture file declares it."""
    return load_mixture(Path("m.yaml"), text=mixture(filters).encode()).sources[0].filters


def made(filters: str, folder: Path = Path()) -> FilterChain:
    return make_filters(declared(filters), folder)


def document(text: str, row: int = 0, **fields: Any) -> Document:
    return Document(id=f"id-{row}", text=text, row=row, metadata=fields)


def ask(filters: FilterChain, text: str, **fields: Any) -> tuple[str | None, str]:
    """Return the reason of a drop, or None, and the text as the filters leave it."""
    kept, dropped = filters.judge([document(text, **fields)])
    assert len(kept) + len(dropped) == 1
    return (None, kept[0].text) if kept else (dropped[0].reason, dropped[0].document.text)


def ask_theirs(name: str, theirs: Any, text: str, **fields: Any) -> tuple[str | None, str]:
    """Return the same from datatrove itself, with its reason after the filter's name."""
    shown = TheirDocument(text=text, id="id", metadata=dict(fields))
    verdict = theirs.filter(shown)
    if isinstance(verdict, tuple):
        return f"{name}/{verdict[1].removeprefix('gopher_')}", text
    return (None, shown.text) if verdict else (f"{name}/below_threshold", text)


def model(words_by_label: dict[str, list[str]]) -> bytes:
    """Return a fastText model that knows a few words of each language, in fastText's own format.

    Source: fastText 0.9.2, `FastText::saveModel`, `Args::save`, `Dictionary::save`.
    """
    labels = list(words_by_label)
    words = [word for label in labels for word in words_by_label[label]]
    size = len(labels)
    supervised, softmax = 3, 3
    arguments = (size, 5, 1, 1, 5, 1, softmax, supervised, 0, 0, 0, 100, 1e-4)
    entries = [(word, 0) for word in words] + [(f"__label__{label}", 1) for label in labels]
    rows = [(4.0, labels.index(label)) for label in labels for _ in words_by_label[label]]
    return b"".join(
        [
            struct.pack("<2i", 793_712_314, 12),
            struct.pack("<12id", *arguments),
            struct.pack("<3i2q", len(entries), len(words), size, 100, -1),
            *(name.encode() + b"\0" + struct.pack("<qb", 1, kind) for name, kind in entries),
            matrix(rows, size),
            matrix([(1.0, index) for index in range(size)], size),
        ]
    )


def matrix(rows: list[tuple[float, int]], size: int) -> bytes:
    values = [strength * (index == column) for strength, index in rows for column in range(size)]
    return struct.pack(f"<?2q{len(values)}f", False, len(rows), size, *values)


def filter_files(made: Path) -> Path:
    """Fill a folder with a language model and lists, as a mixture names them."""
    words = {"en": ["the", "dog", "and"], "fr": ["le", "chien", "et"], "de": ["der"]}
    (made / "lid.bin").write_bytes(model(words))
    scripts = {f"{label}_Latn": ones for label, ones in words.items()}
    (made / "glot.bin").write_bytes(model(scripts))
    lists = {
        "domains": "# a comment\nbad.com\n\nevil.good.org\r\n",
        "urls": "http://good.org/bad\n",
        "words": "casino\n \n",
        "subwords": "gambl",
        "soft": "lucky\nwinner\n",
    }
    for name, text in lists.items():
        (made / f"{name}.txt").write_bytes(text.encode())
    return made


URL_LISTS = (
    "{use_integrated_lists: false, extra_domains: domains.txt, extra_urls: urls.txt, "
    "banned_words: words.txt, banned_subwords: subwords.txt, soft_banned_words: soft.txt}"
)


def real_texts(num_characters: int) -> Iterator[str]:
    """Yield real and hostile texts, as many as fit for each source."""
    for place in sorted(DATA.glob("*")):
        left = num_characters
        data = gzip.decompress(sorted(place.glob("*.gz"))[0].read_bytes())
        for line in data.splitlines():
            text = json.loads(line)["text"]
            if 0 < len(text) <= left:
                left -= len(text)
                yield text


AT_URL = [
    ("http://www.bad.com/page", "domain"),
    ("http://evil.good.org/", "subdomain"),
    ("http://good.org/bad", "url"),
    ("http://good.org/casino/", "hard_blacklisted"),
    ("http://good.org/lucky-winner", "soft_blacklisted"),
    ("http://good.org/GAMBling", "blacklisted_subword"),
    ("http://good.org/lucky", None),
    ("http://good.org/", None),
    ("https://bad.com.example.org/a#b", None),
]


LONG = "a sentence of its own, which is so long that nobody could call it short, number"
REACHED = [
    ("length: {min_chars: 3}", "ab", "too_short"),
    ("length: {max_chars: 3}", "abcd", "too_long"),
    ("regex: {pattern: 'b+c'}", "abbcd", "found"),
    ("regex: {pattern: 'b+c', drop_if: missing}", "abbd", "missing"),
    ("gopher_quality", "too short", "short_doc"),
    ("gopher_quality: {max_doc_words: 60}", GOOD * 5, "long_doc"),
    ("gopher_quality", "a b c " * 60, "below_avg_threshold"),
    ("gopher_quality", "internationalization " * 60, "above_avg_threshold"),
    ("gopher_quality", GOOD * 5 + "# " * 60, "too_many_hashes"),
    ("gopher_quality", GOOD * 5 + "people... " * 40, "too_many_ellipsis"),
    ("gopher_quality", f"- {GOOD}\n" * 5, "too_many_bullets"),
    ("gopher_quality", f"{GOOD[:-2]}...\n" * 5, "too_many_end_ellipsis"),
    ("gopher_quality", GOOD * 5 + "1234 " * 100, "below_alpha_threshold"),
    ("gopher_quality", f"{PLAIN} " * 8, "enough_stop_words"),
    ("gopher_quality: {stop_words: [lion], min_stop_words: 1}", GOOD * 5, "enough_stop_words"),
    ("gopher_quality: {min_doc_words: null}", " \n", "failed"),
    ("gopher_repetition", "", "empty"),
    ("gopher_repetition", "one\n\none\n\none", "dup_para_frac"),
    ("gopher_repetition", PLAIN + "\n\na\n\nb\n\nc\n\nd\n\n" + PLAIN, "dup_para_char_frac"),
    ("gopher_repetition", "one\none\none\ntwo", "dup_line_frac"),
    ("gopher_repetition", f"{PLAIN}\na\nb\nc\nd\n{PLAIN}", "dup_line_char_frac"),
    ("gopher_repetition", " ".join(f"red fox {n}" for n in range(20)), "top_2_gram"),
    ("gopher_repetition: {top_n_grams: [[3, 0.18]]}", "one red fox " * 9, "top_3_gram"),
    ("gopher_repetition: {top_n_grams: [[4, 0.16]]}", "an old red fox " * 9, "top_4_gram"),
    ("gopher_repetition: {top_n_grams: []}", f"{PLAIN} " * 3, "duplicated_5_n_grams"),
    *(
        (
            f"gopher_repetition: {{top_n_grams: [], dup_n_grams: [[{n}, 0.1]]}}",
            f"{PLAIN} " * 3,
            f"duplicated_{n}_n_grams",
        )
        for n in range(6, 11)
    ),
    ("c4_quality", f"{GOOD}\nThen follows lorem ipsum and more.", "lorem_ipsum"),
    ("c4_quality", f"{GOOD}\nThen {{a bracket}} comes along.", "curly_bracket"),
    ("c4_quality", GOOD, "too_few_sentences"),
    ("c4_quality: {min_num_sentences: -1}", "no stop", "emptied"),
    ("fineweb_quality", " \n ", "empty"),
    ("fineweb_quality", f"{PLAIN}\n" * 3, "line_punct_ratio"),
    ("fineweb_quality", "One.\nTwo.\nThree.", "short_line_ratio"),
    ("fineweb_quality", f"{VARIED}\n{VARIED}", "char_dup_ratio"),
    ("fineweb_quality", "".join(f"{'long' * 9}{n}.\n" for n in range(9)), "list_ratio"),
    ("language: {model: lid.bin, languages: en}", "le chien", "below_threshold"),
    ("language: {model: lid.bin}", "the le", "below_threshold"),
    ("language: {model: lid.bin}", "unknown", "failed"),
]


def fields_of(name: str) -> list[str]:
    return list(FILTER_OPTIONS[name].__dataclass_fields__)


def inexact(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(inexact(item) for item in value)
    return float(value) if isinstance(value, Fraction) else value
