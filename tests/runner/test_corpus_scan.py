"""Corpus scan: the memory of the process that decides, and what it saves of each file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.here import Here
from support.strategies import QUICK

from pipeline.config.mixture import DedupSpec
from pipeline.core.files import save_array
from pipeline.dataset import State
from pipeline.runner import corpus_scan
from pipeline.runner.corpus_scan import scan_corpus
from pipeline.runner.task_cache import ScannedInput
from pipeline.runner.tasks.read_documents import DROP_DTYPE
from pipeline.stages import dedup


@pytest.mark.parametrize(("memory_bytes", "expected"), [(1 << 40, 1 << 30), (1 << 20, 1 << 18)])
def test_a_bucket_takes_a_quarter_of_the_memory_and_at_most_a_gibibyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int, expected: int
) -> None:
    seen = []

    def find_drops(*_: object, memory_bytes: int) -> Any:
        seen.append(memory_bytes)
        return iter(())

    monkeypatch.setattr(dedup, "find_drops", find_drops)
    mixture = SimpleNamespace(dedup=DedupSpec(), decontaminate=None, on_error="stop")
    context: Any = SimpleNamespace(
        mixture=mixture, state=State(out=tmp_path), cluster=Here(), memory_bytes=memory_bytes
    )
    assert scan_corpus(context, []) == ([], None, {})
    assert seen == [expected]


@QUICK
@given(dropped=st.dictionaries(st.integers(0, 99), st.sampled_from([*dedup.REASONS, "z", "a/b"])))
def test_what_is_dropped_of_a_file_is_saved_by_row_with_the_reasons_that_occur(
    tmp_path_factory: pytest.TempPathFactory, dropped: dict[int, str]
) -> None:
    state = State(out=tmp_path_factory.mktemp("drops"))
    filtered = {row: reason for row, reason in dropped.items() if reason not in dedup.REASONS}
    found = sorted(dropped.keys() - filtered.keys())
    reasons = sorted(set(filtered.values()))
    path = state.filtered("s", "f")
    path.parent.mkdir(parents=True)
    rows = [(row, reasons.index(reason)) for row, reason in sorted(filtered.items())]
    save_array(path, np.array(rows, DROP_DTYPE))
    saved, _ = corpus_scan._save_drops(
        SimpleNamespace(state=state),
        ("s", "f"),
        ScannedInput(sha256="", locked=None, reasons=tuple(reasons)),
        dedup.DroppedRows(
            files=[],
            file=0,
            rows=np.array(found, np.uint32),
            reasons=np.array([dedup.REASONS.index(dropped[row]) for row in found], np.uint8),
            survivor_files=np.zeros(len(found), np.int64),
            survivor_rows=np.zeros(len(found), np.uint32),
        ),
    )
    assert [*saved.load().items()] == sorted(dropped.items())
    assert saved.reasons == tuple(sorted(set(dropped.values())))
