"""What is made up has the bytes that a build would write, and look-ups find it."""

from pathlib import Path

from pipeline.audit.trace import Trace
from tests.benchmarks.trace_speed import index_as_a_build
from tests.support.made_order import MadeOrder, write_index, write_manifest, write_rows


def test_the_index_is_the_one_of_a_build(tmp_path: Path) -> None:
    made = MadeOrder(tmp_path, 11)
    rows, _ = write_rows(made)
    index = write_index(made)
    assert index == index_as_a_build(made)
    write_manifest(made, {**rows, **index})
    trace = Trace.open(tmp_path)
    (first,) = trace.provenance.rows(17, 18)
    found = trace.document(first.document, first.source)
    assert first in found
    assert {one.document for one in found} == {first.document}
    assert trace.positions.num_rows == made.num_rows
