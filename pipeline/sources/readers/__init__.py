"""Readers: an input file -> its documents, in file order.

A new format is a function in a module of its own, and its suffix in `READERS`.
"""

from pipeline.sources.readers.file_reader import (
    NAME_FIELD,
    FileReader,
    OnBad,
    check_fields,
    first_line,
    read_fields,
)
from pipeline.sources.readers.id_decoder import Decoding
from pipeline.sources.readers.nested import field_of, names_in
from pipeline.sources.readers.raw_file import SKIP_HINT, Record

__all__ = [
    "NAME_FIELD",
    "SKIP_HINT",
    "Decoding",
    "FileReader",
    "OnBad",
    "Record",
    "check_fields",
    "field_of",
    "first_line",
    "names_in",
    "read_fields",
]
