"""Absent: a document that no row of an order has -> where it is instead, or where it may be."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

import orjson
import zstandard

from pipeline.audit.trace.positions import Positions
from pipeline.core.errors import PipelineError
from pipeline.core.zstd import make_decompressor
from pipeline.dataset import (
    DROPPED,
    MANIFEST,
    VALIDATION,
    Manifest,
    SourceRecord,
    read_manifest,
)
from pipeline.dataset.provenance import ProvenanceReader


def why_absent(
    out: Path, manifest: Manifest, positions: Positions, document: str, source: str | None = None
) -> str | None:
    """Return why no row has a document, as far as the output shows it; None where nothing does.

    source: the document's, or None for any.
    """
    if source is not None and manifest.sources and source not in manifest.sources:
        return f"no source is called {source!r}; the sources are {', '.join(manifest.sources)}"
    if held := _held_out(out, document, source):
        return held
    if dropped := _dropped(out, manifest, document, source):
        return dropped
    asked = {name: manifest.sources[name] for name in manifest.sources if source in (None, name)}
    reasons = [*_possible(manifest, asked)]
    if at_end := positions.describe_dropped():
        reasons.append(at_end)
    if not manifest.sources:
        return "; ".join(reasons) or None
    return (
        "; ".join(["check the id", *reasons])
        if reasons
        else ("check the id: nothing was dropped, and each chunk is in a row")
    )


def _held_out(out: Path, document: str, source: str | None) -> str | None:
    folder = out / VALIDATION
    if not (folder / MANIFEST).is_file():
        return None
    try:
        files = read_manifest(folder / MANIFEST).files
        found = ProvenanceReader.of_output(folder, files).document(document, source)
    except PipelineError:
        return f"{folder} is damaged, so it may be held out for validation"
    if not found:
        return None
    return (
        f"it is held out for validation, from source {found[0].source!r};"
        f" `ettin-data trace {quote(str(folder))} --document {quote(document)}` lists its rows"
    )


def _dropped(out: Path, manifest: Manifest, document: str, source: str | None) -> str | None:
    """Look for a document among those dropped that were kept, whose lines begin with the id."""
    start = b'{"id":' + orjson.dumps(document) + b","
    below = f"{DROPPED}/" if source is None else f"{DROPPED}/{source}/"
    for path in sorted(name for name in manifest.files if name.startswith(below)):
        try:
            with make_decompressor().stream_reader((out / path).open("rb")) as data:
                lines = io.BufferedReader(data, 1 << 20)
                found = next((one for one in lines if one.startswith(start)), None)
        except (OSError, zstandard.ZstdError):
            continue
        if found is not None:
            return f"it was dropped for {orjson.loads(found)['reason']}; {path} has it"
    return None


def _possible(manifest: Manifest, sources: Mapping[str, SourceRecord]) -> Iterator[str]:
    """Yield what may have happened to a document, by the counts of its possible sources."""
    if dropped := _listed({n: sum(one.documents.dropped.values()) for n, one in sources.items()}):
        is_kept = manifest.mixture.declaration.get("keep_dropped") == "1/1"
        rest = "" if is_kept else ", which `keep_dropped: 1` in the mixture names"
        yield f"documents were dropped: {dropped}{rest}"
    budgets = {name: one.budget for name, one in sources.items()}
    unused = {n: one.available + one.repeated - one.drawn for n, one in budgets.items()}
    if listed := _listed(unused):
        yield f"tokens beyond the budget were not sampled: {listed}"
    if listed := _listed({name: one.num_unread for name, one in sources.items()}):
        yield f"files beyond the budget were not read: {listed}"


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items() if number > 0)
