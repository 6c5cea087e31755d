"""Files of one JSON object a line -> typed records."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pipeline.core.errors import InputError
from pipeline.core.json_record import from_json, parse_json

Record = TypeVar("Record")


def read_lines(
    kind: type[Record], path: Path, adapt: Callable[[Any], Any] = lambda value: value
) -> list[Record]:
    """Return a record for each line; `adapt` changes its value first.

    Raises: InputError for a file that cannot be read or is empty, and for a line that is no record,
    with its number.
    """
    records = []
    for where, line in text_lines(path):
        try:
            records.append(from_json(kind, adapt(parse_json(line.encode()))))
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error
    return records


def text_lines(path: Path) -> list[tuple[str, str]]:
    """Return the lines of a file that have text, each with where it is.

    Raises: InputError for a file that cannot be read or has none.
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: got {error}, expected lines in UTF-8") from error
    found = [(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise InputError(f"{path}: got no lines, expected one or more")
    return found
