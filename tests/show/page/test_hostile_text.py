"""Text that looks like markup, or would turn or hide what is around it: shown, never obeyed."""

import re
from typing import Any

import pytest
from support.browsers import PHONE, Open, Watched
from support.paths import REPOSITORY

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>&lt;"
TURNED = "\u202etxt.exe\u202c\u2066a\u2069\x1b[31m\x00\x85\u200b\ufeff\u2028b\ud800"
HOSTILE = MARKUP + TURNED
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff\ud800]")
# Words that a view chooses from a list of its own.
_OWN = {"kind", "side", "published", "state", "digest", "row_digest", "sequence_root", "method",
        "path"}  # fmt: skip
VIEWS = {
    "about": "",
    "order": "#order",
    "step": "#step?step=3",
    "row": "#step?step=3&row=37",
    "document": "#document?source=prose&document=prose-0007",
    "search": "#search?text=water",
    "budget": "#budget",
    "proof": "#proof?row=17",
    "compare": "#proof?row=17&with=sample",
}


def hostile(value: Any, key: str = "") -> Any:
    """Return an answer of which every text is hostile, also the names of sources and reasons."""
    if isinstance(value, dict):
        is_open = key in ("counts", "dropped", "metadata")
        return {(name + HOSTILE if is_open else name): hostile(one, name)
                for name, one in value.items()}  # fmt: skip
    if isinstance(value, list):
        return [hostile(one, key) for one in value]
    return value + HOSTILE if isinstance(value, str) and key not in _OWN else value


@pytest.mark.parametrize("size", [PHONE])
def test_hostile_text_is_shown_and_never_run(open_page: Open, size: tuple[int, int]) -> None:
    watched = open_page(size)
    queries: dict[str, dict[str, str | int]] = {
        "about": {}, "order": {"columns": 5}, "step": {"step": 3}, "row": {"row": 37},
        "document": {"source": "prose", "document": "prose-0007"},
        "search": {"text": "water"}, "budget": {}, "proof": {"row": 17},
        "compare": {"with": "sample"},
    }  # fmt: skip
    for name, query in queries.items():
        answer = watched.get(name, **query)
        if name == "search":
            hit = {"row": 5, "step": 1, "offset": 3, "source": "a", "document": "b"}
            rows = [{**hit, "before": "c", "match": "d", "after": "e"}]
            answer |= {"done": 1, "job": None, "count": 1, "rows": rows}
        if name == "document":
            answer["record"]["metadata"] = {"title": "a", "list": ["b", {"c": "d"}]}
        if name == "budget":
            answer["sources"][0]["dropped"] = {"short": {"documents": 3, "tokens": None}}
        watched.answer_with(name, hostile(answer))
    page = watched.page
    for view in list(VIEWS.values())[1:]:
        watched.open(view)
        for tab in page.locator("[role=tab]:visible").all():
            tab.click()
        for summary in page.locator("summary:visible").all():
            summary.click()
        text = page.locator("main").inner_text()
        assert "<img src=x onerror=alert(1)><script>alert(2)</script>&lt;" in text, view
        assert "RLO" in text, view
        assert UNSEEN.search(text) is None, (view, UNSEEN.search(text))
        attributes = page.evaluate(
            "[...document.querySelectorAll('main *, header *')].flatMap(one =>"
            " ['title', 'aria-label', 'placeholder'].map(name => one.getAttribute(name) ?? ''))"
        )
        assert UNSEEN.search("".join(attributes)) is None, view
        assert page.locator("main img, main script, header img, header script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], view
    assert UNSEEN.search(page.title()) is None
    watched.picture("hostile-phone")


def test_what_the_address_says_is_text_too(watched: Watched) -> None:
    watched.refused_ok = True
    page = watched.page
    page.goto(watched.address + "#search?text=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    page.locator("#panel-search .lead, #panel-search .problem").first.wait_for()
    page.goto(watched.address + "#document?source=%3Cb%3Ex&document=%E2%80%AEy")
    message = page.locator("#panel-document .problem")
    message.wait_for()
    assert UNSEEN.search(message.inner_text()) is None
    assert page.locator("main img, main b").count() == 0


def test_no_module_of_the_page_makes_markup_of_text() -> None:
    modules = sorted((REPOSITORY / "pipeline" / "show" / "page").glob("*.js"))
    assert len(modules) > 10
    makers = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
        r"|\beval\(|new Function|javascript:"
    )
    assert [path.name for path in modules if makers.search(path.read_text())] == []
    assert [path.name for path in modules if len(path.read_text().splitlines()) > 400] == []


def test_a_script_or_style_within_the_page_would_not_run(watched: Watched) -> None:
    page = watched.open("#order")
    page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
        " document.body.append(one); }"
    )
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in fault for fault in watched.faults)
    watched.faults.clear()
