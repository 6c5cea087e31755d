"""Views by the name in their address, with the parameters that each takes.

A parameter is parsed once, here; a view gets values and checks what they mean for its order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pipeline.config import closest
from pipeline.core.errors import ConfigError
from pipeline.show.about_view import about_view
from pipeline.show.order_view import order_view
from pipeline.show.row_view import row_view
from pipeline.show.shown_order import Shown
from pipeline.show.step_view import step_view

_MOST_DIGITS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A view and the parameters that it takes, each with its parser."""

    answer: Callable[..., dict[str, Any]]
    params: Mapping[str, Callable[[str, str], Any]]


def _natural(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ConfigError(f"{name}: got {text!r}, expected an integer of at least 0")
    return int(text)


def _text(name: str, text: str) -> str:
    return text


VIEWS: Mapping[str, View] = {
    "about": View(answer=about_view, params={}),
    "order": View(
        answer=order_view, params={"first": _natural, "last": _natural, "columns": _natural}
    ),
    "step": View(answer=step_view, params={"step": _natural}),
    "row": View(answer=row_view, params={"row": _natural}),
}


def answer(shown: Shown, name: str, query: str) -> dict[str, Any]:
    """Return the answer of a view to a query, as in an address.

    Raises: ConfigError for a view or a parameter that is not known, given twice or not valid; as
    the view.
    """
    view = VIEWS.get(name)
    if view is None:
        raise ConfigError(f"{name!r}: is no view, expected one of {', '.join(VIEWS)}")
    with_lock = _parse(name, view, query)
    with shown.lock:
        return view.answer(shown, **with_lock)


def _parse(name: str, view: View, query: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except ValueError as error:
        raise ConfigError(f"{name}: got a query that is not UTF-8 as name=value&…") from error
    params: dict[str, Any] = {}
    for key, text in pairs:
        if key not in view.params:
            near = closest(key, view.params)
            known = ", ".join(view.params) or "none"
            raise ConfigError(f"{name}: got the parameter {key!r}, expected {known}", near)
        if key in params:
            raise ConfigError(f"{name}: got the parameter {key} twice, expected it once")
        params[key] = view.params[key](key, text)
    return params
