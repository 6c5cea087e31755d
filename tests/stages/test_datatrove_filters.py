"""Filters judge as datatrove does, document by document: quality, masks and languages."""

import inspect
import re
from pathlib import Path

import pytest
from datatrove.pipeline import filters as their_filters
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.utils import lid
from huggingface_hub import constants
from support.filters import (
    AT_URL,
    GOOD,
    PLAIN,
    QUALITY,
    REACHED,
    THEIRS,
    VARIED,
    ask,
    ask_theirs,
    declared,
    document,
    fields_of,
    inexact,
    made,
    real_texts,
)

from pipeline.config.filters import FILTER_OPTIONS, FORMATTERS
from pipeline.stages.filters.chain import make_filters


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
    real = [*real_texts(60_000)]
    texts = [*real, GOOD * 5, VARIED, PLAIN, f"{VARIED}\n{GOOD}\n[1] {VARIED}"]
    ours, theirs = made(f"[{name}]"), THEIRS[name]()
    outcomes = [ask(ours, text) for text in texts]
    assert outcomes == [ask_theirs(name, theirs, text) for text in texts]
    kept = {reason is None for reason, _ in outcomes}
    # Of our own few texts a filter may keep none.
    assert kept == {True, False} if real else False in kept


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
    for name in FILTER_OPTIONS.keys() - {"regex", "language", "url", "python", "datatrove"}:
        kept, _ = made(f"[{name}]").judge([document(text)])
        changing |= {name for one in kept if one.text != text}
    assert changing == FORMATTERS


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
