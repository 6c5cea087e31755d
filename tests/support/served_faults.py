"""Faults that a test injects into the stand-in of the Hub."""

from pathlib import Path
from typing import Any

from .served_content import Content

Fault = dict[str, Any]
"""`kind`: status (`status`, `headers`), cut (`bytes`), short (`bytes`), stall (`seconds`), drip
(`bytes`, `seconds`, and `after`: how many come at once before), ignore_range, wrong_range,
first_range (as many bytes from the beginning), changed, replaced (the file at `path` in its place,
under its own ETag), damaged (`byte`: where a bit is not the file's), page (a page of HTML with
status 200), gzip (the file packed), unsized (whole, without its length), unnamed (neither ETag nor
Last-Modified).
`match`: a part of the path of a request, else all; a data set's file is struck where its bytes are
sent, `/lfs/ORG/NAME/PATH`, or, if `match` has "/resolve/" in it, where it is asked for. `method`:
HEAD or GET alone. `skip`: how many such requests pass first, else 0. `times`: how many it strikes,
else 1; -1 for all."""


def in_its_place(file: Content | None, fault: Fault) -> Content | None:
    """Return what is sent in place of a file: by most faults the file itself."""
    is_other = file and fault.get("kind") == "replaced"
    return Content(None, Path(fault["path"])) if is_other else file


def damaged(file: Content, byte: int) -> Content:
    """Return a file with one bit that is not as it was."""
    content = bytearray(file.read())
    content[byte % len(content)] ^= 1
    return Content(bytes(content))
