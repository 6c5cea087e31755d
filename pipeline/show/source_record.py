"""The record of a document, read again from the file of its source, where that still lies here."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import RAW
from pipeline.core.bundled import bundled_folder
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, NotFoundError
from pipeline.dataset import InputRecord, Manifest, PartitionRecord
from pipeline.sources import FileReader, InputFile, kind_of

_MOST_CHARACTERS = 1_000_000
_MOST_METADATA = 100_000
_MOST_SECONDS = 1.5
# A page asks for one document, so that small blocks are enough.
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRecordFound:
    """A document as its source has it, and the file."""

    path: Path
    document: Document

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON-able values of bounded size."""
        text, metadata = self.document.text, _plain(self.document.metadata)
        spelled = json.dumps(metadata)
        if len(spelled) > _MOST_METADATA:
            metadata = {"cut": spelled[:_MOST_METADATA]}
        return {
            "text": text[:_MOST_CHARACTERS],
            "num_characters": len(text),
            "is_cut": len(text) > _MOST_CHARACTERS,
            "metadata": metadata,
        }


def find_record(
    manifest: Manifest, out: Path, source: str, file: str, document: str
) -> SourceRecordFound:
    """Find a document in its file, of the size that the manifest says it had.

    file: as provenance names it. A path is looked for beside the output, in the current folder and
    among what ships; a pulled file also below the folder of pulled files.

    Raises: NotFoundError, with what is missing; as the reader.
    """
    partition, record = _input_of(manifest, source, file)
    origin = manifest.mixture.declaration["sources"][source]["from"]
    if origin.get("decode") is not None:
        raise NotFoundError(f"{file}: its source stores token ids and not text")
    path = _locate(out, record)
    named = InputFile(
        path=path,
        declared=record.path,
        partition=partition.partition,
        kind=kind_of(f"sources.{source}", record.path, path.name),
    )
    found = FileReader(
        named, text_field=origin["text"], id_field=origin["id"], block_bytes=_BLOCK_BYTES
    )
    stop = time.monotonic() + _MOST_SECONDS
    for block in found.blocks(_pass):
        for one in block:
            if one.id == document:
                return SourceRecordFound(path=path, document=one)
        if time.monotonic() > stop:
            raise NotFoundError(
                f"{path}: the document lies further in it than can be read in"
                f" {_MOST_SECONDS} seconds"
            )
    raise NotFoundError(f"{path}: has no document of this id: it may be another file of this name")


def _pass(error: DocumentError) -> None:
    """Go on after a document that cannot be read: it is none that was built."""


def _input_of(manifest: Manifest, source: str, file: str) -> tuple[PartitionRecord, InputRecord]:
    known = manifest.sources.get(source)
    for partition in () if known is None else known.partitions:
        for record in partition.inputs:
            if record.path == file:
                return partition, record
    raise NotFoundError(f"{file}: the manifest has no input file of this name")


def _locate(out: Path, record: InputRecord) -> Path:
    if "://" in record.path:
        scheme, _, rest = record.path.partition("://")
        name = rest.rpartition("/")[2]
        raws = [Path.cwd() / RAW, out.parent / RAW]
        places = [raw / scheme / rest for raw in raws]
        places += [one for raw in raws for one in sorted(raw.glob(f"hub/*/*/*/{name}"))]
    else:
        folders = [out.parent, Path.cwd(), out, bundled_folder("mixtures")]
        places = [folder / record.path for folder in folders]
        places += [RAW / "hub" / record.path]
    for path in places:
        if path.is_file():
            if path.stat().st_size == record.num_bytes:
                return path
            raise NotFoundError(
                f"{path}: got {path.stat().st_size:,} bytes, expected the {record.num_bytes:,} that"
                " were built from"
            )
    raise NotFoundError(
        f"{record.path}: is not beside the output, nor in the current folder",
        "run `ettin-data show` in the folder of the mixture",
    )


def _plain(value: Any) -> Any:
    """Return a value of a record as JSON has it; what JSON has not as text."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)
