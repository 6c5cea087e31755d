"""Table headers: the first line of a CSV or TSV -> whether it names columns.

A reader takes names from the first row whatever is in it. With another delimiter, a table has one
column; without a header, its first document is lost.
"""

import csv
import re
from typing import Final

from pipeline.core.errors import InputError
from pipeline.runner.setup.text_fields import is_usual_name
from pipeline.sources import InputFile, first_line

_DELIMITERS: Final = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_READ: Final = {"csv": ",", "tsv": "\t"}
_QUOTED: Final = re.compile(r'"[^"]*"')
# Numbers, dates, addresses.
_VALUE: Final = re.compile(r"[-+]?\d[\d.,:/eE+-]*|\w+://.*")
_MOST_CHARS: Final = 100
# A column may be called by a question of a survey.
_SENTENCE: Final = re.compile(r"(\S+\s+){3,}\S+|.*\s.*[.!]")


def check_header(file: InputFile) -> str:
    """Return a warning about a table whose first row may be no names, or nothing.

    Raises: InputError for one that plainly has none, or another delimiter.
    """
    kind = file.kind.split(".")[1]
    if kind not in _READ:
        return ""
    line = first_line(file)
    _refuse_delimiter(file, line, _READ[kind])
    names = [name.strip() for name in next(csv.reader([line], delimiter=_READ[kind]), [])]
    if any(map(is_usual_name, names)):
        return ""
    for name in names:
        if _VALUE.fullmatch(name) or len(name) > _MOST_CHARS:
            shown = name[:40] + ("…" if len(name) > 40 else "")
            raise InputError(
                f'{file.declared}: got "{shown}" in the first row, expected the names of columns',
                "put a row of names before it, such as id,text".replace(",", _READ[kind]),
            )
    sentence = next(filter(_SENTENCE.fullmatch, names), None)
    if sentence is None:
        return ""
    return (
        f'{file.declared}: the first row names the columns, but "{sentence}" looks like'
        " text; if it is, put a row of names before it"
    )


def _refuse_delimiter(file: InputFile, line: str, expected: str) -> None:
    bare = _QUOTED.sub("", line)
    most = max(_DELIMITERS, key=bare.count)
    if bare.count(most) > bare.count(expected):
        kind = file.kind.split(".")[1]
        raise InputError(
            f"{file.declared}: got columns with {_DELIMITERS[most]} between them, expected"
            f" {_DELIMITERS[expected]}, as a .{kind} is read",
            "rename it to .tsv"
            if (most, kind) == ("\t", "csv")
            else "rename it to .csv"
            if (most, kind) == (",", "tsv")
            else "write it again with commas (.csv) or tabs (.tsv)",
        )
