"""Check that a manifest adds up: its counts, and its totals with the table of steps.

A digest finds a changed byte; this finds a manifest that was wrong when its digest was made. Ids
of rows are not read: whether they are those of the ledger, `verify_against` the manifest tells.
`docs/spec/manifest.md` has the rules.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.json_record import ABSENT, to_json
from pipeline.core.mirrored import here
from pipeline.dataset import MANIFEST, ORDER, STEPS, Manifest, root_of_multiset
from pipeline.dataset.mds import INDEX_NAME
from pipeline.dataset.parquet import STEP_SCHEMA
from pipeline.order import permutation_file

Value = tuple[str, object, object]
"""Where a value is, what it is, and what it must be."""
_ERRORS = (pa.ArrowException, OSError, ArithmeticError, LookupError, TypeError, ValueError)


def check_sums(out: Path, manifest: Manifest) -> list[str]:
    """Return a line for each value of an undamaged output that does not follow from others."""
    try:
        steps = _read_steps(out, manifest.order.num_steps)
        of_order = [*_of_steps(manifest, steps), *_of_windows(out, manifest, steps)]
    except _ERRORS as error:
        return [f"{MANIFEST}: cannot be compared with the order: {error}"]
    return [
        f"{where}: got {got}, expected {expected}"
        for where, got, expected in (*_of_sources(manifest), *of_order)
        if got != expected
    ]


def _read_steps(out: Path, num_steps: int) -> dict[str, Any]:
    """Read the table of steps; a small file may claim to have billions."""
    file = pq.ParquetFile(here(out / STEPS))
    if not file.schema_arrow.equals(STEP_SCHEMA):
        got = ", ".join(f"{one.name}: {one.type}" for one in file.schema_arrow)
        raise ValueError(f"{STEPS}: got the columns {got}, expected those of its specification")
    if file.metadata.num_rows != num_steps:
        raise ValueError(f"{STEPS}: got {file.metadata.num_rows} rows, expected {num_steps}")
    return dict(file.read().to_pydict())


def _of_sources(manifest: Manifest) -> Iterator[Value]:
    order = manifest.order
    for name, source in manifest.sources.items():
        where = f"{MANIFEST}: sources.{name}"
        groups = [(one.documents, one.tokens) for one in source.partitions]
        for documents, tokens in (*groups, (source.documents, source.tokens)):
            seen = documents.kept + sum(documents.dropped.values())
            yield f"{where}: documents.in", documents.num_in, seen
            seen = tokens.written + tokens.discarded - tokens.added
            yield f"{where}: tokens.in", tokens.num_in, seen
        for group in ("chunks", "tokens"):
            parts = [to_json(getattr(part, group)) for part in source.partitions]
            for key, count in to_json(getattr(source, group)).items():
                yield f"{where}: {group}.{key}", count, sum(part[key] for part in parts)
        budget, tokens = source.budget, source.tokens
        yield f"{where}: budget.available", budget.available, tokens.written - tokens.validation
        yield f"{where}: budget.drawn", budget.drawn, tokens.drawn
        yield f"{where}: budget.asked", budget.asked, budget.drawn - budget.overshoot
    if manifest.sources:
        sources = manifest.sources.values()
        samples = sum(source.chunks.drawn for source in sources)
        yield f"{MANIFEST}: order.num_samples", order.num_samples, samples
        drawn = sum(source.tokens.drawn for source in sources) + order.num_tokens_added
        spent = order.num_tokens + order.num_tokens_dropped + order.num_tokens_cut
        yield f"{MANIFEST}: tokens of the order", spent, drawn


def _of_steps(manifest: Manifest, steps: dict[str, Any]) -> Iterator[Value]:
    order = manifest.order
    batch = manifest.num_rows_per_step
    num_steps = len(steps["step"])
    digests = [bytes.fromhex(digest) for digest in steps["sha256"]]
    for key, column in (
        ("step", range(1, num_steps + 1)),
        ("start_row", range(0, num_steps * batch, batch)),
        ("num_rows", [batch] * num_steps),
        ("sha256", [digest.hex() for digest in digests]),
    ):
        values = enumerate(zip(steps[key], column, strict=True), 1)
        differing = (
            (f"{STEPS}: step {i}: {key}", got, expected)
            for i, (got, expected) in values
            if got != expected
        )
        yield from islice(differing, 1)
    for key, expected in {
        "num_steps": num_steps,
        "num_rows": num_steps * batch,
        "num_rows_dropped": order.num_samples - num_steps * batch,
        "num_tokens": sum(steps["num_tokens"]),
        "root_sha256": hashlib.sha256(b"".join(digests)).hexdigest(),
    }.items():
        yield f"{MANIFEST}: order.{key}", getattr(order, key), expected
    is_whole = 0 <= order.num_rows_dropped < batch
    yield f"{MANIFEST}: order.num_rows_dropped is less than a step", is_whole, True
    yield f"{MANIFEST}: order.ledger.num_rows", order.ledger.num_rows, num_steps * batch


def _of_column(out: Path, files: Sequence[str], batch: int) -> Iterator[Value]:
    """Compare the column `step` of a window's files, a row group at a time."""
    row = 0
    for name in files:
        with pq.ParquetFile(here(out / name)) as file:
            for group in range(file.num_row_groups):
                found = file.read_row_group(group, ["step"])["step"].to_numpy()
                expected = np.arange(row, row + len(found)) // batch + 1
                row += len(found)
                for place in np.flatnonzero(found != expected)[:1]:
                    yield f"{name}: column step", found[place], expected[place]


def _of_windows(out: Path, manifest: Manifest, steps: dict[str, Any]) -> Iterator[Value]:
    order = manifest.order
    batch = manifest.num_rows_per_step
    stops = list(accumulate(window.num_steps for window in order.windows))
    others = {STEPS, f"{ORDER}/{INDEX_NAME}"} if order.format == "mds" else {STEPS}
    is_index = order.pool is not ABSENT
    if is_index:
        others = {STEPS, f"{ORDER}/{permutation_file(order.permutation_key)}"}
    # One pass over the files: of an order of full size there are 200 windows and 500,000 files.
    files_by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(manifest.files.keys() - others):
        if name.startswith(f"{ORDER}/"):
            files_by_folder["/".join(name.split("/")[:2])].append(name)
    for start, stop, window in zip([0, *stops], stops, order.windows, strict=False):
        where = f"{MANIFEST}: {window.folder}"
        yield f"{where}: first_step", window.first_step, start
        yield f"{where}: first_row", window.first_row, start * batch
        yield f"{where}: num_rows", window.num_rows, (stop - start) * batch
        yield f"{where}: num_tokens", window.num_tokens, sum(steps["num_tokens"][start:stop])
        files = files_by_folder.get(window.folder, [])
        yield f"{where}: has files", bool(files), not is_index
        if files and order.format == "parquet":
            yield from _of_column(out, files, batch)
    folders = {window.folder for window in order.windows}
    for folder, files in files_by_folder.items():
        for name in files:
            yield f"{name}: is in a window", folder in folders, True
    yield f"{MANIFEST}: steps of order.windows", sum(stops[-1:]), order.num_steps
    roots = (bytes.fromhex(window.multiset_root) for window in order.windows)
    root = root_of_multiset(sum(int.from_bytes(root, "little") for root in roots))
    yield f"{MANIFEST}: order.ledger.multiset_root", order.ledger.multiset_root, root
