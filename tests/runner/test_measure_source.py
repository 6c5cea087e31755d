"""What is measured of some documents is near the truth, for local files of every kind."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support import builds

from pipeline.config.load import load_mixture
from pipeline.runner import measure_source
from pipeline.runner.estimate import SourceEstimate, estimate_sources
from pipeline.runner.plan import make_plan
from pipeline.sources.readers.file_reader import READERS

WITHIN = 0.1
"""Of the available tokens, where a sixth of the documents is looked at."""
NUM_DOCUMENTS = 1600
Documents = list[dict[str, Any]]
PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "bz2": bz2.compress,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


@pytest.fixture(scope="module", params=["mixed", "sorted"])
def documents(request: pytest.FixtureRequest) -> Documents:
    """Documents of very different lengths, beside fields of other sizes; also by their length."""
    draw = random.Random(7)
    made: Documents = []
    for number in range(NUM_DOCUMENTS):
        text = builds.text(f"measured/{number % 40}", max(3, int(draw.lognormvariate(4, 0.8))))
        other = {"body": text, "address": "x" * draw.randrange(300)}
        made.append({"id": f"d{number}", "text": text, "other": other})
    return sorted(made, key=lambda one: len(one["text"])) if request.param == "sorted" else made


def write(folder: Path, kind: str, documents: Documents) -> None:
    folder.mkdir()
    name, base, pack = folder / f"a.{kind}", *kind.partition(".")[::2]
    if base in ("txt", "md"):
        for one in documents[:200]:
            (folder / f"{one['id']}.{base}").write_text(one["text"])
    elif kind == "jsonl.tar.gz":
        with tarfile.open(name, "w:gz") as archive:
            for part in range(4):
                content = builds.json_lines(documents[part::4])
                about = tarfile.TarInfo(f"{part}.jsonl")
                about.size = len(content)
                archive.addfile(about, io.BytesIO(content))
    elif base == "parquet":
        pq.write_table(pa.Table.from_pylist(documents), name, row_group_size=500)
    elif base == "arrow":
        table = pa.Table.from_pylist(documents)
        with pa.ipc.new_stream(str(name), table.schema) as stream:
            stream.write_table(table, max_chunksize=100)
    else:
        name.write_bytes(PACKERS[pack](content_of(base, documents)))


def content_of(base: str, documents: Documents) -> bytes:
    if base == "jsonl":
        return builds.json_lines(documents)
    if base == "json":
        return json.dumps(documents, indent=1).encode()
    rows = io.StringIO()
    writer = csv.writer(rows, delimiter="," if base == "csv" else "\t")
    writer.writerow(["id", "text", "address"])
    writer.writerows(
        [one["id"], f'"{one["text"]}"\nby', one["other"]["address"]] for one in documents
    )
    return rows.getvalue().encode()


def measured(folder: Path, text_field: str, extra: str = "") -> SourceEstimate:
    text = (
        "name: here\nchunk: {size: 256}\n"
        f"sources: {{s: {{from: {{path: in/*, text: {text_field}, id: null}}}}}}\n"
        f"order: {{seed: 1, global_batch_size: 8, max_seq_len: 256}}\n{extra}"
    )
    mixture = load_mixture(folder / "here.yaml", text=text.encode())
    (made,) = estimate_sources(make_plan(mixture, None, folder))
    assert made.is_measured
    return made


KINDS = [
    ("jsonl", "text"), ("jsonl", "other.body"), ("jsonl.gz", "text"), ("jsonl.zst", "other.body"),
    ("jsonl.xz", "text"), ("jsonl.bz2", "text"), ("json", "text"), ("json.gz", "other.body"),
    ("jsonl.tar.gz", "text"), ("csv", "text"), ("csv.gz", "text"), ("tsv.xz", "text"),
    ("parquet", "text"), ("parquet", "other.body"), ("arrow", "text"), ("txt", "text"),
    ("md", "text"),
]  # fmt: skip


def test_all_kinds_of_files_but_shards_are_measured_here() -> None:
    # MDS shards are rows of ids of known size; `tests/runner/test_estimate.py` has them.
    assert {kind.partition(".")[0] for kind, _ in KINDS} == set(READERS) - {"mds"}


@pytest.mark.parametrize(("kind", "field"), KINDS)
def test_the_available_tokens_are_near_the_truth(
    kind: str,
    field: str,
    documents: Documents,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path / "in", kind, documents)
    monkeypatch.setattr(measure_source, "SAMPLE_BYTES", 1 << 30)
    monkeypatch.setattr(measure_source, "_FEWEST_FILES", NUM_DOCUMENTS)
    monkeypatch.setattr(measure_source, "_MOST_FILES", NUM_DOCUMENTS)
    truth = measured(tmp_path, field)
    assert truth.is_whole
    monkeypatch.undo()
    monkeypatch.setattr(measure_source, "SAMPLE_BYTES", 1 << 17)
    some = measured(tmp_path, field)
    assert not some.is_whole
    assert some.available_tokens == pytest.approx(truth.available_tokens, rel=WITHIN)
    assert some.counts.documents == pytest.approx(truth.counts.documents, rel=WITHIN)


def test_of_a_large_file_the_first_part_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = builds.documents("large", 2000, 100)
    write(tmp_path / "in", "jsonl", records)
    monkeypatch.setattr(measure_source, "SAMPLE_BYTES", 1 << 30)
    truth = measured(tmp_path, "text")
    monkeypatch.undo()
    monkeypatch.setattr(measure_source, "READ_BYTES", 1 << 17)
    some = measured(tmp_path, "text")
    assert not some.is_whole
    assert some.available_tokens == pytest.approx(truth.available_tokens, rel=WITHIN)


def test_what_is_dropped_is_counted_by_reason(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    lines = [{"text": "A tide of words."}, {"text": "A tide  of words."}, {"text": ""}, {"body": 1}]
    lines += [{"text": f"{number} tides of words."} for number in range(6)]
    (tmp_path / "in" / "a.jsonl").write_bytes(builds.json_lines(lines) + b"{no json\n")
    plain = measured(tmp_path, "text", "on_error: skip\n").counts
    assert (plain.documents, plain.kept) == (11, 8)
    assert plain.dropped == {"empty_text": 1, "invalid_json": 1, "no_text": 1}
    unique = measured(tmp_path, "text", "on_error: skip\ndedup: {}\n").counts
    assert (unique.documents, unique.kept) == (11, 7)
    assert unique.dropped == {**plain.dropped, "duplicate_text": 1}
    assert unique.written < plain.written
