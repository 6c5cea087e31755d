"""Filters judge as datatrove does, document by document, and nothing of what goes in is lost."""

import dataclasses
import gzip
import inspect
import json
import re
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import zstandard
from datatrove.data import Document as TheirDocument
from datatrove.pipeline import filters as their_filters
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.utils import lid
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]
from support.paths import REPOSITORY, SHARED
from support.strategies import QUICK

from pipeline.config.filters import FILTER_OPTIONS, FILTERS, FORMATTERS, Filter
from pipeline.config.load import load_mixture
from pipeline.config.settings import Setting, settings_of, to_plain
from pipeline.core import digest
from pipeline.core.document import Document
from pipeline.core.errors import ConfigError
from pipeline.stages.filters import dependencies as identity_module
from pipeline.stages.filters.chain import FilterChain, make_filters
from pipeline.stages.filters.dependencies import identify
from pipeline.stages.filters.dropped_writer import DroppedWriter
from pipeline.stages.filters.url import LISTS, find_url
from pipeline.stages.filters.verdict import Dropped

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model and lists, as a mixture names them."""
    made = tmp_path_factory.mktemp("filters")
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


# What may be declared.


@pytest.mark.parametrize("name", THEIRS)
def test_options_have_the_names_and_defaults_of_datatrove(name: str) -> None:
    parameters = inspect.signature(THEIRS[name].__init__).parameters
    expected = {
        key: parameter.default
        for key, parameter in parameters.items()
        if key != "self" and key not in LEFT_OUT
    }
    fields = FILTER_OPTIONS[name].__dataclass_fields__
    ours = {key: inexact(field.default) for key, field in fields.items() if key != "model"}
    assert ours == expected


def inexact(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(inexact(item) for item in value)
    return float(value) if isinstance(value, Fraction) else value


@pytest.mark.parametrize("name", FILTER_OPTIONS)
def test_every_filter_can_be_declared_and_has_a_fingerprint(name: str) -> None:
    needed = {"regex": "{pattern: x}", "language": "{model: lid.bin}"}.get(name, "{}")
    [spec] = declared(f"[{name}: {needed}]")
    assert spec.name == name
    assert len(digest.fingerprint(to_plain(spec))) == 64
    if needed == "{}":
        assert declared(f"[{name}]") == (spec,)


def test_options_are_read_exactly() -> None:
    [spec] = declared(
        "[gopher_repetition: {dup_line_frac: null, top_n_grams: [[2, 0.1], [7, 1/3]], "
        "dup_n_grams: []}]"
    )
    assert spec.options.dup_line_frac is None
    assert spec.options.top_n_grams == ((2, Fraction(1, 10)), (7, Fraction(1, 3)))
    assert spec.options.dup_n_grams == ()
    assert to_plain(spec)["options"]["top_n_grams"] == [[2, "1/10"], [7, "1/3"]]
    [zero] = declared("[fineweb_quality: {line_punct_thr: 0, char_duplicates_ratio: 0.0}]")
    assert (zero.options.line_punct_thr, zero.options.char_duplicates_ratio) == (0, 0)


def test_the_order_of_a_set_of_words_means_nothing() -> None:
    for options in ("gopher_quality: {stop_words: %s}", "language: {model: m, languages: %s}"):
        assert declared(f"[{options % '[b, a, b]'}]") == declared(f"[{options % '[a, b]'}]")


WHERE = "m.yaml:3:51: sources.web.filters[0]"
BAD = [
    ("[length: {min_chars: 3, max_chars: 2}]", "got 2, expected at least min_chars, here 3"),
    ("[gopher_qualty]", 'got "gopher_qualty", expected one of length, regex, gopher_quality,'),
    ("[gopher_quality: {min_doc_words: 0}]", "got 0, expected an integer from 1 to 2,147,483,647"),
    (
        "[gopher_quality: {max_symbol_word_ratio: 0}]",
        "got 0, expected a number above 0 and at most 1000 such as 2, 2.5 or 3/2",
    ),
    (
        "[fineweb_quality: {short_line_thr: 1.5}]",
        "got 1.5, expected a number at least 0 and at most 1 such as 0.0008 or 1/3",
    ),
    (
        "[fineweb_quality: {short_line_thr: -0.5}]",
        "got -0.5, expected a number at least 0 and at most 1",
    ),
    (
        "[gopher_repetition: {top_n_grams: 2}]",
        "got 2, expected a list of pairs such as [[2, 0.2], [3, 0.18]]",
    ),
    ("[gopher_repetition: {top_n_grams: [[2]]}]", "got 1 values, expected a pair such as [2, 0.2]"),
    ("[gopher_repetition: {top_n_grams: [two]}]", 'got "two", expected a pair such as [2, 0.2]'),
    ("[gopher_repetition: {top_n_grams: [[0, 2]]}]", "got 0, expected an integer from 1 to 1,000"),
    ("[regex: {pattern: '(a'}]", 'got "(a" (missing ), unterminated subpattern at position 0)'),
    ("[regex: {pattern: 5}]", "got 5, expected a regular expression of Python, in quotes"),
    ("[regex]", "got nothing, expected a regular expression of Python"),
    (
        "[regex: {pattern: a, drop_if: fuond}]",
        'expected one of found, missing; did you mean "found"',
    ),
    ("[language]", "got nothing, expected the path of a file, relative to this file"),
    ("[url: {soft_word_threshold: 0}]", "got 0, expected an integer from 1"),
]


@pytest.mark.parametrize(("filters", "complaint"), BAD)
def test_bad_options_are_refused_where_they_stand(filters: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)) as caught:
        declared(filters)
    assert caught.value.message.startswith("m.yaml:3:")


def test_schema_and_loading_agree() -> None:
    validator = Draft202012Validator(FILTERS.json_schema())
    Draft202012Validator.check_schema(FILTERS.json_schema())
    for name in FILTER_OPTIONS.keys() - {"regex", "language"}:
        assert validator.is_valid([name])
    assert validator.is_valid([{"gopher_repetition": {"top_n_grams": [[2, 0.1], [3, "1/3"]]}}])
    assert validator.is_valid([{"regex": {"pattern": "x"}}, {"language": {"model": "m"}}])
    assert validator.is_valid([{"fineweb_quality": {"line_punct_thr": 0}}])
    for bad in (
        ["gopher"],
        [{"regex": {}}],
        [{"gopher_repetition": {"top_n_grams": [[2]]}}],
        [{"gopher_repetition": {"top_n_grams": [[2, 2]]}}],
        [{"fineweb_quality": {"line_punct_thr": -1}}],
        [{"gopher_quality": {"max_symbol_word_ratio": 0}}],
    ):
        assert not validator.is_valid(bad), bad


def option_rows() -> dict[str, list[str]]:
    """Return the rows of the tables of options in the documentation, by filter."""
    return {
        name: [
            f"| `{key}` | {shown(one)} | {one.description} |"
            for key, one in settings_of(options).items()
        ]
        for name, options in FILTER_OPTIONS.items()
    }


def shown(one: Setting) -> str:
    if one.default is dataclasses.MISSING:
        return "needed"
    return f"`{json.dumps(inexact(one.default))}`"


def test_the_documentation_has_every_filter_option_and_reason() -> None:
    documentation = (REPOSITORY / "docs" / "guide" / "filters.md").read_text()
    for name, rows in option_rows().items():
        assert "\n".join([f"### `{name}`", *rows]) in re.sub(
            rf"(### `{name}`)\n.*?\n\| ---[^\n]*", r"\1", documentation, flags=re.DOTALL
        )
    for _, reason in [*((None, reason) for *_, reason in REACHED), *AT_URL]:
        if reason is not None and not re.search(r"\d_n?_?gram", reason):
            assert f"`{reason}`" in documentation, reason


# Verdicts, beside datatrove's own.

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


@pytest.mark.parametrize(("filters", "text", "reason"), REACHED)
def test_every_reason_is_reached_as_in_datatrove(
    filters: str, text: str, reason: str, folder: Path
) -> None:
    [spec] = declared(f"[{filters}]")
    name = spec.name
    assert ask(make_filters((spec,), folder), text) == (f"{name}/{reason}", text)
    if name in QUALITY and reason not in ("failed", "emptied"):
        options = {key: inexact(getattr(spec.options, key)) for key in fields_of(name)}
        assert ask_theirs(name, QUALITY[name](**options), text) == (f"{name}/{reason}", text)


def fields_of(name: str) -> list[str]:
    return list(FILTER_OPTIONS[name].__dataclass_fields__)


@pytest.mark.parametrize("name", [*QUALITY, "url"])
def test_no_reason_of_datatrove_is_left_untried(name: str) -> None:
    source = inspect.getsource(THEIRS[name].filter)
    stated = set(re.findall(r'return False, f?"(?:gopher_)?([^"]+)"', source))
    assert len(stated) >= 3
    reasons = [reason for filters, _, reason in REACHED if filters.split(":")[0] == name]
    if name == "url":
        reasons = [reason for _, reason in AT_URL if reason is not None]
    tried = {re.sub(r"\d+", "{n}", reason) for reason in reasons}
    assert stated <= tried


@pytest.mark.parametrize("name", QUALITY)
def test_real_texts_are_judged_as_datatrove_judges_them(name: str) -> None:
    texts = [*real_texts(60_000), GOOD * 5, VARIED, PLAIN, f"{VARIED}\n{GOOD}\n[1] {VARIED}"]
    ours, theirs = made(f"[{name}]"), THEIRS[name]()
    outcomes = [ask(ours, text) for text in texts]
    assert outcomes == [ask_theirs(name, theirs, text) for text in texts]
    assert {reason is None for reason, _ in outcomes} == {True, False}


def test_what_c4_leaves_out_of_a_text_stays_out() -> None:
    text = f"{VARIED}\nno stop\nThis line needs javascript to be read.\n"
    assert ask(made("[c4_quality]"), text) == (None, VARIED)
    assert made("[c4_quality]").judge([document(text, 7, a=1)]) == ([document(VARIED, 7, a=1)], [])


def test_a_later_filter_sees_what_an_earlier_one_made_of_the_text() -> None:
    text = f"{VARIED}\nno stop"
    found = "regex: {pattern: no stop}"
    assert ask(made(f"[{found}, c4_quality]"), text) == ("regex/found", text)
    assert ask(made(f"[c4_quality, {found}]"), text) == (None, VARIED)
    assert ask(made(f"[c4_quality, {found}, length: {{max_chars: 9}}]"), text) == (
        "length/too_long",
        VARIED,
    )


def test_the_filters_that_change_texts_are_those_that_say_so() -> None:
    text = f"{VARIED}\nno stop a@b.org the dog"
    changing = set()
    for name in FILTER_OPTIONS.keys() - {"regex", "language", "url"}:
        kept, _ = made(f"[{name}]").judge([document(text)])
        changing |= {name for one in kept if one.text != text}
    assert changing == FORMATTERS


# Masks.


def test_mail_and_public_addresses_are_masked_as_datatrove_does() -> None:
    text = "From a.b@c.org, d@e.com, f@g.net at 8.8.8.8, 9.9.9.9 and 192.168.0.1."
    masked = (
        "From email@example.com, firstname.lastname@example.org, email@example.com at "
        "22.214.171.124, 126.96.36.199 and 192.168.0.1."
    )
    assert ask(made("[pii]"), text) == (None, masked) == (None, PIIFormatter().format(text))
    options = "{remove_ips: false, email_replacement: '<mail>'}"
    assert ask(made(f"[pii: {options}]"), "a@b.org 8.8.8.8") == (None, "<mail> 8.8.8.8")


def test_masks_of_a_text_do_not_depend_on_the_text_before() -> None:
    filters = made("[pii]")
    documents = [document("a@b.org at 8.8.8.8", row) for row in range(3)]
    kept, _ = filters.judge(documents)
    assert {one.text for one in kept} == {"email@example.com at 22.214.171.124"}
    for text in real_texts(200_000):
        assert ask(filters, text) == (None, PIIFormatter().format(text))


# Languages.


@pytest.mark.parametrize("options", ["", ", languages: [en, de]", ", language_threshold: 0.96"])
@pytest.mark.parametrize("backend", ["ft176", "glotlid"])
def test_languages_are_told_as_datatrove_tells_them(
    options: str, backend: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = {"ft176": "lid.bin", "glotlid": "glot.bin"}[backend]
    if backend == "glotlid":
        options = options.replace("en", "en_Latn").replace("de]", "de_Latn]")
    [spec] = declared(f"[language: {{model: {name}, backend: {backend}{options}}}]")
    languages, threshold = spec.options.languages, float(spec.options.language_threshold)
    # datatrove fetches its model from an address; a path is one, too.
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path))
    cls = {"ft176": lid.FT176LID, "glotlid": lid.GlotLID}[backend]
    monkeypatch.setattr(cls, "MODEL_URL", str(folder / name))
    monkeypatch.setattr(cls, "__init__", lid.FastTextLID.__init__)
    theirs = their_filters.LanguageFilter(
        list(languages) if languages else None, threshold, backend=backend
    )
    ours = make_filters((spec,), folder)
    texts = [
        "the dog",
        "le chien\net",
        "der",
        "the le",
        "der der the",
        "the dog and le",
        "the\nthe",
    ]
    outcomes = [ask(ours, text) for text in texts]
    assert outcomes == [ask_theirs("language", theirs, text) for text in texts]
    assert {reason for reason, _ in outcomes} == {None, "language/below_threshold"}


def test_a_document_keeps_its_metadata_whatever_its_language(folder: Path) -> None:
    filters = made("[language: {model: lid.bin}]", folder)
    one = document("the dog", 3, language="xx")
    kept, _ = filters.judge([one])
    assert kept == [one]


# Addresses.

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


@pytest.mark.parametrize(("url", "reason"), AT_URL)
@pytest.mark.filterwarnings("ignore:The 'registered_domain' property")
def test_addresses_are_judged_as_datatrove_judges_them(
    url: str, reason: str | None, folder: Path
) -> None:
    theirs = their_filters.URLFilter(
        extra_domains=["bad.com", "evil.good.org"],
        extra_urls=["http://good.org/bad"],
        banned_words=["casino"],
        banned_subwords=["gambl"],
        soft_banned_words=["lucky", "winner"],
        use_integrated_lists=False,
    )
    ours = made(f"[url: {URL_LISTS}]", folder)
    expected = (reason and f"url/{reason}", "text")
    assert ask(ours, "text", url=url) == ask_theirs("url", theirs, "text", url=url) == expected
    assert ask(ours, "text", metadata={"url": url}) == expected


def test_the_address_is_looked_for_where_datatrove_looks() -> None:
    assert find_url({"url": "a", "metadata": {"url": "b"}}) == "a"
    assert find_url({"metadata": {"url": "b"}}) == "b"
    assert find_url({"metadata": "text"}) is find_url({"url": None}) is find_url({}) is None


def test_a_document_without_an_address_is_a_bad_one(folder: Path) -> None:
    kept, [dropped] = made(f"[url: {URL_LISTS}]", folder).judge([document("text", 4)])
    assert kept == []
    assert dropped.reason == "url/no_url"
    assert dropped.fault == "has no field url, which its filter judges by"


def test_a_document_that_cannot_be_judged_is_a_bad_one() -> None:
    _, [dropped] = made("[gopher_quality: {min_doc_words: null}]").judge([document(" ")])
    assert dropped.fault == (
        "cannot be judged by gopher_quality (ZeroDivisionError: division by zero)"
    )
    _, [unwanted] = made("[gopher_quality]").judge([document("short")])
    assert unwanted.fault is None


def test_nothing_is_asked_of_the_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(host: str, *_: Any, **__: Any) -> None:
        asked.append(host)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TLDEXTRACT_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path))
    filters = make_filters(
        declared(f"[url: {URL_LISTS}, language: {{model: lid.bin}}, gopher_quality, c4_quality]"),
        folder,
    )
    ask(filters, "the dog", url="http://good.org/")
    assert (asked, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The 'registered_domain' property")
def test_the_lists_of_datatrove_are_those_that_it_unpacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path))
    theirs = their_filters.URLFilter()
    theirs.download_data()
    ours = made("[url]")
    domains = sorted(theirs.block_listed_domains)[:: len(theirs.block_listed_domains) // 500]
    words = sorted(theirs.banned_words | theirs.banned_subwords | theirs.soft_banned_words)
    urls = [f"http://{domain}/" for domain in domains]
    urls += [f"http://good.org/{word}" for word in words]
    urls += [*sorted(theirs.block_listed_url)[:500], "http://good.org/"]
    outcomes = [ask(ours, "text", url=url) for url in urls]
    assert outcomes == [ask_theirs("url", theirs, "text", url=url) for url in urls]
    assert len(Counter(outcomes)) >= 6


# Blocks and counts.

ALL = (
    "[length: {min_chars: 2}, regex: {pattern: forbidden}, pii, gopher_quality: "
    "{min_doc_words: 5, min_stop_words: null}, gopher_repetition, c4_quality: "
    "{min_num_sentences: 1}, fineweb_quality: {new_line_ratio: 1}]"
)
TEXTS = [
    *(text for _, text, _ in REACHED),
    VARIED,
    f"{VARIED}\nWrite to a@b.org or c@d.net, please.",
    f"{VARIED}\nforbidden",
    f"{GOOD}\n{VARIED}\nno stop\n{LONG} one.",
]
documents = st.lists(st.one_of(st.sampled_from(TEXTS), st.text(max_size=30)), max_size=8).map(
    lambda texts: [document(text, row) for row, text in enumerate(texts)]
)


@QUICK
@given(documents=documents, data=st.data())
def test_any_split_into_blocks_gives_the_same(
    documents: list[Document], data: st.DataObject
) -> None:
    filters = made(ALL)
    kept, dropped = filters.judge(documents)
    places = data.draw(st.permutations(range(len(documents))))
    alone = {place: filters.judge([documents[place]]) for place in places}
    assert kept == [one for row in sorted(alone) for one in alone[row][0]]
    assert dropped == [one for row in sorted(alone) for one in alone[row][1]]
    rows = sorted([one.row for one in kept] + [one.document.row for one in dropped])
    assert rows == list(range(len(documents)))
    assert all(one.text for one in kept)


def test_no_filter_keeps_all_and_needs_nothing() -> None:
    one = document("text")
    assert make_filters((), Path()).judge([one]) == ([one], [])
    assert identify((), Path()) == {}


def test_order_is_kept() -> None:
    texts = [VARIED, "short", GOOD, "x", VARIED + GOOD]
    kept, dropped = made("[length: {min_chars: 10}]").judge(
        [document(text, row) for row, text in enumerate(texts)]
    )
    assert [one.row for one in kept] == [0, 2, 4]
    assert [one.document.row for one in dropped] == [1, 3]


# What decides beyond the declaration.


def test_versions_and_digests_are_named(folder: Path) -> None:
    specs = declared(
        "[length, gopher_quality, language: {model: lid.bin}, "
        "url: {use_integrated_lists: false, extra_urls: urls.txt}]"
    )
    found = identify(specs, folder)
    assert found["datatrove"] == metadata.version("datatrove")
    assert found["2/language/model"] == digest.sha256_file(folder / "lid.bin")
    assert found["3/url/extra_urls"] == digest.sha256_file(folder / "urls.txt")
    assert list(found) == [
        *("2/language/model", "3/url/extra_urls", "datatrove", "fasttext-numpy2-wheel"),
        *("pyahocorasick", "spacy", "tldextract", "unicode"),
    ]


def test_a_list_that_changes_changes_identity_and_verdict(tmp_path: Path) -> None:
    filters = "[url: {use_integrated_lists: false, banned_words: words.txt}]"
    path = tmp_path / "words.txt"
    path.write_text("casino\n")
    before = identify(declared(filters), tmp_path)
    assert ask(made(filters, tmp_path), "x", url="http://a.org/bingo")[0] is None
    path.write_text("casino\nbingo\n")
    assert identify(declared(filters), tmp_path) != before
    reason, _ = ask(made(filters, tmp_path), "x", url="http://a.org/bingo")
    assert reason == "url/hard_blacklisted"


MISSING = [
    ("language: {model: no.bin}", "filters: language.model: .*no.bin: got no file", "lid.176.bin"),
    ("url: {banned_words: no.txt}", "filters: url.banned_words: .*no.txt: got no file", None),
    ("language: {model: urls.txt}", "language.model: .*urls.txt: got .*expected a fastText", None),
    ("gopher_quality: {language: xyz}", 'language: got "xyz", expected a code of a lang', None),
    ("fineweb_quality: {language: cym}", 'language: got "cym", expected a code of a la', None),
    ("c4_quality: {language: jpn}", 'language: got "jpn", expected a code of a languag', None),
    ("url: {use_integrated_lists: false, extra_urls: lid.bin}", "got .*expected a list in", None),
]


@pytest.mark.parametrize(("filters", "message", "hint"), MISSING)
def test_what_is_missing_is_an_error_that_says_what(
    filters: str, message: str, hint: str | None, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        made(f"[{filters}]", folder)
    assert (hint or "") in (caught.value.hint or "")


def test_other_languages_are_split_by_their_own_rules() -> None:
    # English makes two words of each, of 2.5 characters on average.
    text = "don't " * 60
    options = "min_doc_words: 61, language: "
    assert ask(made(f"[gopher_quality: {{{options}deu}}]"), text)[0] == "gopher_quality/short_doc"
    assert ask(made(f"[gopher_quality: {{{options}eng}}]"), text)[0] == (
        "gopher_quality/below_avg_threshold"
    )


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    identity_module._version.cache_clear()
    with pytest.raises(ConfigError) as caught:
        made("[pii]")
    assert caught.value.message == (
        "filters: pii needs the package datatrove, which is not installed"
    )
    assert caught.value.hint == "pip install 'ettin-data[filters]'"


def test_plain_filters_do_not_even_look_for_datatrove() -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from pipeline.stages.filters import make_filters\nfrom pipeline.config import Filter\n"
        "from pipeline.config.filters import Length, Regex\n"
        "make_filters((Filter(name='length', options=Length()), "
        "Filter(name='regex', options=Regex(pattern='a'))), Path())\n"
        "print(sorted({'datatrove', 'spacy', 'fasttext', 'tldextract'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_list_of_addresses_is_an_option() -> None:
    assert set(LISTS) < set(fields_of("url"))


# Documents kept aside.


def drops(count: int) -> list[Dropped]:
    return [
        Dropped(document=document(f"text {row}", row, n=row), reason="length/too_short")
        for row in range(count)
    ]


def written(path: Path) -> list[dict[str, Any]]:
    data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    return [json.loads(line) for line in data.decode().splitlines()]


def write(path: Path, share: Fraction, blocks: list[list[Dropped]], name: str = "a-0000") -> bytes:
    writer = DroppedWriter(path, share, "web", name)
    for block in blocks:
        writer.write(block)
    writer.close()
    return path.read_bytes()


def test_all_that_was_dropped_is_kept_aside_with_its_reason(tmp_path: Path) -> None:
    one = Dropped(document=document("a\nb é", 3, url="u", inner={"k": [1]}), reason="url/domain")
    odd = Dropped(document=document("c", 4, of={1}, n=Decimal("1.5"), b=b"x"), reason="regex/found")
    write(tmp_path / "a", Fraction(1), [[one], [odd]])
    assert written(tmp_path / "a") == [
        {
            "id": "id-3",
            "row": 3,
            "reason": "url/domain",
            "text": "a\nb é",
            "metadata": {"url": "u", "inner": {"k": [1]}},
        },
        {
            "id": "id-4",
            "row": 4,
            "reason": "regex/found",
            "text": "c",
            "metadata": {"of": "{1}", "n": "1.5", "b": "b'x'"},
        },
    ]


def test_the_share_kept_aside_is_frozen(tmp_path: Path) -> None:
    write(tmp_path / "a", Fraction(1, 4), [drops(40)])
    assert [record["row"] for record in written(tmp_path / "a")] == [0, 1, 2, 29, 36, 37]
    write(tmp_path / "b", Fraction(1, 4), [drops(40)], name="a-0001")
    assert [record["row"] for record in written(tmp_path / "b")] == [3, 6, 11, 23, 29, 37]


def test_a_share_is_fair_and_part_of_a_larger_one(tmp_path: Path) -> None:
    rows = []
    for share in (Fraction(1, 10), Fraction(1, 2), Fraction(1)):
        write(tmp_path / "a", share, [drops(4000)])
        rows.append({record["row"] for record in written(tmp_path / "a")})
    assert rows[0] < rows[1] < rows[2] == set(range(4000))
    assert abs(len(rows[0]) - 400) < 80
    assert abs(len(rows[1]) - 2000) < 130


def test_bytes_do_not_depend_on_blocks(tmp_path: Path) -> None:
    # More than a block of zstd, which is 128 KiB, and texts that hardly shrink.
    many = [
        Dropped(document=document(digest.sha256_bytes(b"%d" % row), row), reason="a/b")
        for row in range(8000)
    ]
    whole = write(tmp_path / "a", Fraction(1), [many])
    singles = write(tmp_path / "b", Fraction(1), [[one] for one in many])
    parts = write(tmp_path / "c", Fraction(1), [many[:7], [], many[7:3000], many[3000:]])
    assert whole == singles == parts
    assert len(whole) > 300_000
    assert write(tmp_path / "d", Fraction(1), []) == write(tmp_path / "e", Fraction(1), [[]])
    assert written(tmp_path / "d") == []
