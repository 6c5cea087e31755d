"""The holdout split: rules hold out what the plain forms do, and all chunks of a document."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.here import Here
from support.plain_choices import plain_holdout
from support.strategies import QUICK

from pipeline.config import ValidationSpec
from pipeline.core import bins
from pipeline.core.errors import InternalError
from pipeline.core.files import save_array, save_sealed
from pipeline.dataset import State
from pipeline.dataset.mds.shard import ROW_DTYPE
from pipeline.runner import number_buckets, threshold
from pipeline.runner.holdout_split import Split, split_holdout

Sources = dict[str, dict[str, list[tuple[int, list[int]]]]]
"""By source and partition, documents as (which text, the lengths of its chunks)."""

documents = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.integers(1, 9), min_size=1, max_size=3)), max_size=8
)
sources_of_partitions = st.dictionaries(
    st.sampled_from(["books", "code", "wiki"]),
    st.dictionaries(st.sampled_from(["p1", "p2", "p10"]), documents, min_size=1),
    min_size=1,
)


def digest(text: int) -> tuple[int, int]:
    return text, text * 0x9E3779B97F4A7C15 % 2**64


def write(out: Path, sources: Sources) -> dict[str, list[Any]]:
    """Write tables and digests of partitions; return what is used of their records."""
    state, records = State(out=out), {}
    for source, parts in sources.items():
        records[source] = []
        for name, own in parts.items():
            folder = f"{source}/{name}"
            table = np.zeros(sum(len(lengths) for _, lengths in own), ROW_DTYPE)
            table["length"] = [length for _, lengths in own for length in lengths]
            table["chunk"] = [chunk for _, lengths in own for chunk in range(len(lengths))]
            digests = np.array([digest(text) for text, _ in own], np.uint64).reshape(-1, 2)
            for save, path, array in (
                (save_sealed, state.table(folder), table),
                (save_array, out / State.digests(folder), digests),
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                save(path, array)
            records[source].append(
                SimpleNamespace(
                    partition=name,
                    folder=folder,
                    chunks=SimpleNamespace(written=len(table)),
                    tokens=SimpleNamespace(written=int(table["length"].sum())),
                )
            )
    return records


def split(out: Path, sources: Sources, fraction: Fraction) -> Split:
    context: Any = SimpleNamespace(
        mixture=SimpleNamespace(validation=ValidationSpec(fraction=fraction, seed=21)),
        state=State(out=out),
        cluster=Here(),
        run="run",
    )
    named: Any = [SimpleNamespace(name=source) for source in sources]
    return split_holdout(context, named, write(out, sources))


@pytest.mark.parametrize("is_small", [False, True])
def test_rules_hold_out_what_the_plain_form_does(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    if is_small:
        monkeypatch.setattr(bins, "FEW", 2)
        monkeypatch.setattr(threshold, "_ROWS_AT_ONCE", 5)
        monkeypatch.setattr(number_buckets, "LARGEST", 2)

    @QUICK
    @given(sources=sources_of_partitions, fraction=st.fractions(Fraction(1, 1000), 1))
    def check(sources: Sources, fraction: Fraction) -> None:
        joined = {
            source: [document for _, own in sorted(parts.items()) for document in own]
            for source, parts in sources.items()
        }
        plain = plain_holdout(
            {
                source: np.array([digest(text) for text, _ in own], np.uint64).reshape(-1, 2)
                for source, own in joined.items()
            },
            {
                source: np.array([sum(lengths) for _, lengths in own], np.int64)
                for source, own in joined.items()
            },
            fraction,
            21,
        )
        found = split(tmp_path_factory.mktemp("split"), sources, fraction)
        assert {source: list(parts) for source, parts in found.items()} == {
            source: sorted(parts) for source, parts in sorted(sources.items())
        }
        for source, parts in found.items():
            held = [is_held for part in parts.values() for is_held in part.held_out().tolist()]
            expected = [
                bool(is_held)
                for (_, lengths), is_held in zip(joined[source], plain[source], strict=True)
                for _ in lengths
            ]
            assert held == expected
            for part in parts.values():
                lengths = part.lengths()
                assert (part.num_chunks, part.num_tokens) == (len(lengths), lengths.sum())

    check()


def test_digests_of_another_number_of_documents_are_a_fault(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(State, "digests", staticmethod(lambda folder: "digests.npy"))
        with pytest.raises(InternalError, match=r"a/p1: got 0 digests of texts for 2 documents"):
            split(tmp_path, {"a": {"p1": [(1, [5]), (2, [5])], "p2": []}}, Fraction(1, 2))
