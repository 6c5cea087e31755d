"""The command line and the Python call that give what a view shows."""

import shlex
from typing import Any
from urllib.parse import urlencode

from pipeline.show.shown_order import Shown


def same_view(shown: Shown, name: str, params: dict[str, Any]) -> dict[str, str]:
    """Return what gives an answer exactly."""
    asked = {key: value for key, value in params.items() if value is not None}
    query = f"{name}?{urlencode(asked)}" if asked else name
    more = [] if shown.phase is None else ["--phase", shown.phase]
    return {
        "command": _command("show", shown.where, *more, "--get", query),
        "python": _python(shown, name, asked),
    }


def same_trace(
    shown: Shown, name: str, params: dict[str, Any], options: list[str]
) -> dict[str, str]:
    """Return what gives an answer, by `trace` where the order has what that reads."""
    same = same_view(shown, name, params)
    if shown.trace is not None:
        same["command"] = _command("trace", shown.where, *options)
    return same


def _command(*arguments: str) -> str:
    return shlex.join(["ettin-data", *arguments])


def _python(shown: Shown, name: str, params: dict[str, Any]) -> str:
    phase = "" if shown.phase is None else f", phase={shown.phase!r}"
    given = "".join(f", {key}={value!r}" for key, value in params.items())
    return (
        f"from pipeline.show import Shown, {name}_view\n"
        f"{name}_view(Shown.open({shown.where!r}{phase}){given})"
    )
