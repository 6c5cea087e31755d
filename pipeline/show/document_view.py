"""A document: the rows and steps that saw it, and its record as the source has it."""

from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.dataset.provenance import RowProvenance
from pipeline.show.commands import same_trace
from pipeline.show.shown_order import Shown
from pipeline.show.source_record import find_record

_MOST_ROWS = 2000
_MOST_MISSING = 10_000


def document_view(shown: Shown, document: str, source: str | None = None) -> dict[str, Any]:
    """Return the rows of a document, by row, of one source or of the first that has it.

    Raises: NotFoundError when no row has it; ConfigError for an id that UTF-8 cannot hold.
    """
    trace = shown.need_trace()
    found = trace.document(document, source)
    first = found[0]
    rows = [one for one in found if one.source == first.source]
    seen = {one.chunk for one in rows}
    missing = (chunk for chunk in range(first.num_chunks) if chunk not in seen)
    options = [f"--document={document}", "--source", first.source, "--text"]
    return {
        "source": first.source,
        "document": document,
        "file": first.file,
        "sources": sorted({one.source for one in found}),
        "num_rows": len(rows),
        "rows": [_row(shown, one) for one in rows[:_MOST_ROWS]],
        "num_missing": first.num_chunks - len(seen),
        "missing_chunks": [chunk for _, chunk in zip(range(_MOST_MISSING), missing, strict=False)],
        "repeats": len(rows) - len(seen),
        **_record(shown, first),
        **same_trace(shown, "document", {"document": document, "source": first.source}, options),
    }


def _row(shown: Shown, one: RowProvenance) -> dict[str, Any]:
    return {
        "row": one.row,
        "step": one.step,
        "chunk": one.chunk,
        "num_chunks": one.num_chunks,
        "num_tokens": one.num_tokens,
        "checkpoint": shown.checkpoint_after(one.step),
    }


def _record(shown: Shown, first: RowProvenance) -> dict[str, Any]:
    trace = shown.need_trace()
    try:
        found = find_record(
            trace.manifest, trace.out.absolute(), first.source, first.file, first.document
        )
    except PipelineError as error:
        return {"record": None, "record_file": None, "record_problem": error.message}
    return {"record": found.as_json(), "record_file": str(found.path), "record_problem": None}
