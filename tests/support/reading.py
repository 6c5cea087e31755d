"""Files of documents written, listed and read, for tests of readers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.document import Document
from pipeline.core.errors import DocumentError
from pipeline.sources.partitions import InputFile, list_files
from pipeline.sources.readers.file_reader import FileReader


def refuse(error: DocumentError) -> None:
    raise error


def input_file(folder: Path, name: str, data: bytes) -> InputFile:
    """Write a file and list it."""
    (folder / name).write_bytes(data)
    [file] = list_files("source", (name,), folder)
    return file


def read_all(
    file: InputFile, on_bad: Callable[[DocumentError], None] = refuse, **options: Any
) -> tuple[list[Document], FileReader]:
    reader = FileReader(file, **{"text_field": "text", "id_field": "id", **options})
    return [document for block in reader.blocks(on_bad) for document in block], reader


def pairs(documents: list[Document]) -> list[tuple[str, str]]:
    return [(document.id, document.text) for document in documents]
