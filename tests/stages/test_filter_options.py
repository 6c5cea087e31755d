"""What a mixture may declare of filters: datatrove's options, read exactly, and documented."""

import dataclasses
import inspect
import json
import re
from fractions import Fraction

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]
from support.filters import (
    AT_URL,
    LEFT_OUT,
    REACHED,
    THEIRS,
    declared,
    inexact,
)
from support.paths import REPOSITORY

from pipeline.config.filters import FILTER_OPTIONS, FILTERS
from pipeline.config.settings import Setting, settings_of, to_plain
from pipeline.core import digest
from pipeline.core.errors import ConfigError

NEEDED = {
    "regex": "{pattern: x}",
    "language": "{model: lid.bin}",
    "python": "{function: 'm:f'}",
    "datatrove": "{filter: GopherQualityFilter}",
}
"""What a filter cannot be declared without."""


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


@pytest.mark.parametrize("name", FILTER_OPTIONS)
def test_every_filter_can_be_declared_and_has_a_fingerprint(name: str) -> None:
    needed = NEEDED.get(name, "{}")
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
        "got 1.5, expected a number at least 0 and at most 1 such as 0.001 or 1/1000",
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
