"""URLs are judged as datatrove judges them, without network or caches."""

import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datatrove.pipeline import filters as their_filters
from huggingface_hub import constants
from support.filters import AT_URL, URL_LISTS, ask, ask_theirs, declared, document, made

from pipeline.stages.filters.chain import make_filters
from pipeline.stages.filters.url import find_url


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
