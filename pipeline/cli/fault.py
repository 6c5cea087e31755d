"""The report of a fault of ours: what a developer needs to find it, in a file to send.

It holds versions, the command and the traceback, without secrets of addresses; no file of the
person's is read for it.
"""

import os
import platform
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import distributions

from pipeline.core.shown import printable, without_secrets
from pipeline.version import VERSION


def write_report(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the report of an unexpected error into a new file; return its path."""
    packages = sorted({f"{one.name} {one.version}" for one in distributions()})
    lines = [
        f"ettin-data {VERSION}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {shlex.join(['ettin-data', *arguments])}",
        "",
        *(line.rstrip("\n") for line in traceback.format_exception(error)),
        "",
        *packages,
    ]
    text = printable(without_secrets("\n".join(lines)))
    try:
        number, path = tempfile.mkstemp(prefix="ettin-data-", suffix=".txt")
    except OSError:
        return f"there is no place to write one, so here it is:\n{text}"
    with os.fdopen(number, "w", errors="backslashreplace") as file:
        file.write(f"{text}\n")
    return path
