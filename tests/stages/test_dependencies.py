"""What decides beyond the declaration: packages and files by version and digest."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from support.filters import ask, declared, fields_of, made

from pipeline.core import digest
from pipeline.core.errors import ConfigError
from pipeline.stages.filters import dependencies as identity_module
from pipeline.stages.filters.dependencies import identify
from pipeline.stages.filters.url import LISTS


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
