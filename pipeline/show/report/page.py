"""The file of a report: HTML with its style and pictures inside, and no script.

Whatever comes from an order is text: the template escapes every value, and shows characters that
are not seen, or turn the text around them, by their number.
"""

import re
from base64 import b64encode
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from pipeline.core.errors import OutputError
from pipeline.core.files import publish_beside
from pipeline.core.units import format_tokens
from pipeline.show.report.unseen import UNSEEN
from pipeline.version import VERSION

_MARK: Final = "<!doctype html><!-- ettin-data report -->"
_MOST_CHARACTERS: Final = 300
"""Of a name or an id, which may be as long as a file."""


def render(content: dict[str, Any]) -> str:
    """Return a report as HTML, of what `report_content` returns. Pure."""
    style = _read("pipeline.show", "page/colours.css") + _read("pipeline.show.report", "report.css")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "full": _full,
        "percent": _percent,
        "short": format_tokens,
        "plain": _plain,
        "cut": _cut,
    }
    template = environment.from_string(_read("pipeline.show.report", "report.html"))
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return template.render(
        **content, mark=Markup(_MARK), style=Markup(style), style_digest=digest, version=VERSION
    )


def check_report_path(path: Path, order: Path | None = None) -> None:
    """Check that a path is free, or has a report. Raises: OutputError.

    order: the folder that is reported, if it is on this machine; nothing is added to it.
    """
    if order is not None and path.resolve().is_relative_to(order.resolve()):
        raise OutputError(
            f"{path}: lies in {order}, expected a file beside it",
            "an output has the files of its manifest alone; `verify` refuses any other",
        )
    try:
        if path.exists() and not path.is_file():
            # To open a pipe waits for whoever writes to it.
            got = "a folder" if path.is_dir() else "a device or a pipe"
            raise OutputError(f"{path}: got {got}, expected the name of a file to write")
        with path.open("rb") as file:
            is_report = file.read(len(_MARK)) == _MARK.encode()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    if not is_report:
        raise OutputError(
            f"{path}: got a file that is not a report, expected one to replace, or no file",
            "name a file that is not there yet, or remove this one first",
        )


def write_report(path: Path, content: dict[str, Any]) -> int:
    """Publish a report as a file; return its size in bytes. Raises: OutputError."""
    check_report_path(path)
    # Halves of surrogate pairs are shown by number, so all of it can be encoded.
    data = render(content).encode()
    with publish_beside(path) as temporary:
        temporary.write_bytes(data)
    return len(data)


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _code(match: re.Match[str]) -> str:
    return f"U+{ord(match[0]):04X}"


def _shown(value: Any) -> Any:
    """Return a value of the template as markup in which every character can be seen."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return Markup(
        UNSEEN.sub(lambda match: f'<span class="mark">{_code(match)}</span>', escape(value))
    )


def _plain(value: str) -> Markup:
    """Return text for an attribute, which holds no elements."""
    return escape(UNSEEN.sub(lambda match: f"({_code(match)})", value))


def _cut(value: str) -> str:
    return value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]}…"


def _full(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{share:.1%}".replace("%", " %")
