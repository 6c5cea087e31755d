"""Views by the name in their address, with the parameters that each takes.

A parameter is parsed once, here; a view gets values and checks what they mean for its order.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pipeline.config import closest
from pipeline.core.errors import ConfigError
from pipeline.show.about_view import about_view
from pipeline.show.budget_view import budget_view
from pipeline.show.compare_view import compare_view
from pipeline.show.document_view import document_view
from pipeline.show.order_view import order_view
from pipeline.show.proof_view import proof_view
from pipeline.show.row_view import row_view
from pipeline.show.search_view import search_view
from pipeline.show.shown_order import Shown
from pipeline.show.step_view import step_view

_MOST_DIGITS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A view and the parameters that it takes, each with its parser."""

    answer: Callable[..., dict[str, Any]]
    params: Mapping[str, Callable[[str, str], Any]]
    needed: tuple[str, ...] = ()
    is_alone: bool = True
    """Whether it uses the readers that all views share, so that no other may run beside it."""


def _natural(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ConfigError(f"{name}: got {text!r}, expected an integer of at least 0")
    return int(text)


def _text(name: str, text: str) -> str:
    return text


VIEWS: Mapping[str, View] = {
    "about": View(answer=about_view, params={}),
    "order": View(
        answer=order_view,
        params={"first": _natural, "last": _natural, "columns": _natural, "source": _text},
    ),
    "step": View(
        answer=step_view,
        params={"step": _natural, "first": _natural, "rows": _natural},
        needed=("step",),
    ),
    "row": View(answer=row_view, params={"row": _natural}, needed=("row",)),
    "document": View(
        answer=document_view, params={"source": _text, "document": _text}, needed=("document",)
    ),
    "search": View(
        answer=search_view,
        params={"text": _text, "first": _natural, "job": _text},
        needed=("text",),
        is_alone=False,
    ),
    "budget": View(answer=budget_view, params={}),
    "proof": View(answer=proof_view, params={"row": _natural}, needed=("row",)),
    "compare": View(answer=compare_view, params={"with": _text}, needed=("with",), is_alone=False),
}
# A keyword of Python has no parameter of its name.
_KEYWORDS = {"with": "other"}


def answer(shown: Shown, name: str, query: str) -> dict[str, Any]:
    """Return the answer of a view to a query, as in an address. May be called by any thread.

    Raises: ConfigError for a view or a parameter that is not known, missing, given twice or not
    valid; as the view.
    """
    view = VIEWS.get(name)
    if view is None:
        raise ConfigError(f"{name!r}: is no view, expected one of {', '.join(VIEWS)}")
    params = _parse(name, view, query)
    with shown.lock if view.is_alone else nullcontext():
        return view.answer(shown, **params)


def _parse(name: str, view: View, query: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except ValueError as error:
        raise ConfigError(
            f"{name}: got a query of another form, expected UTF-8 as name=value&name=value"
        ) from error
    params: dict[str, Any] = {}
    for key, text in pairs:
        if key not in view.params:
            known = ", ".join(view.params) or "none"
            meant = closest(key, view.params)
            raise ConfigError(f"{name}: got the parameter {key!r}, expected {known}{meant}")
        if key in params:
            raise ConfigError(f"{name}: got the parameter {key} twice, expected it once")
        params[key] = view.params[key](key, text)
    for key in view.needed:
        if key not in params:
            raise ConfigError(f"{name}: got no {key}, expected it as {name}?{key}=…")
    return {_KEYWORDS.get(key, key): value for key, value in params.items()}
