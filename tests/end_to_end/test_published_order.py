"""A look-alike of the published order, of the reference chain's rows, is verified over HTTP.

It is served by a process on loopback as the Hub serves data sets, with and without faults; and each
kind of divergence is planted once, served, and called by its name.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import planted
from support.clusters import Build
from support.order_server import serve
from support.paths import SHARED

from pipeline.audit.verify.against import verify_against

REFERENCE = SHARED / "golden"
GOLDEN = REFERENCE / "slice-edge"

pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason=f"the reference chain's outputs do not lie at {REFERENCE}"
)

FAULTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "429": [{"kind": "status", "status": 429, "headers": {"Retry-After": "0"}, "times": 2}],
    "503": [{"kind": "status", "status": 503, "headers": {"Retry-After": "0"}, "times": 2}],
    "cut": [{"kind": "cut", "bytes": 3_000, "times": 2}],
    "slow": [{"kind": "drip", "bytes": 20_000, "seconds": 0.001, "times": -1}],
}


@pytest.fixture(scope="module")
def out(build_here: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our build of the mixture that the reference chain's rows were made from."""
    return build_here(GOLDEN / "mixture.yaml", tmp_path_factory.mktemp("golden") / "out")


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("view", ["encoder", "decoder"])
def test_the_reference_order_is_verified_whole_and_in_part_through_faults(
    out: Path, monkeypatch: pytest.MonkeyPatch, view: str, faults: str
) -> None:
    with serve(GOLDEN / "order" / view) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        for part in ({}, {"rows": (32, 320)}, {"steps": (3, 9)}, {"window": 1}):
            server.set_faults(FAULTS[faults])
            report = verify_against(out, server.where(), **part)  # type: ignore[arg-type]
            assert report.equal
            assert report.comparison.view == view
            if "rows" in part:
                assert (report.comparison.start, report.comparison.stop) == (32, 320)


Publish = Callable[[Path, Path, Build], Path]


def _pool(edit: Callable[[planted.Planted], planted.Planted], **how: Any) -> Publish:
    def publish(folder: Path, out: Path, build: Build) -> Path:
        return planted.published(folder, edit(planted.read(out)), **how)

    return publish


def _same(pool: planted.Planted) -> planted.Planted:
    return pool


def _by_shards(folder: Path, out: Path, build: Build) -> Path:
    shards = planted.rows_by_shard(out)
    assert len(shards) > 2
    pool = planted.read(out).take(np.concatenate(shards[::-1]).tolist())
    return planted.published(folder, pool)


def _built(*settings: str) -> Publish:
    def publish(folder: Path, out: Path, build: Build) -> Path:
        other = build(GOLDEN / "mixture.yaml", folder.parent / "other", *settings)
        return planted.published(folder, planted.read(other))

    return publish


def _other_words(rows: list[planted.Ids]) -> list[planted.Ids]:
    return [np.where(row < 50_000, (row + 9_973) % 50_000, row).astype(np.uint32) for row in rows]


def _one_other_id(rows: list[planted.Ids]) -> list[planted.Ids]:
    changed = rows[40].copy()
    changed[len(changed) // 2] ^= 1
    return [*rows[:40], changed, *rows[41:]]


DIVERGENCES: dict[str, tuple[Publish, set[str]]] = {
    "one row fewer": (_pool(lambda pool: pool.without([200])), {"row count"}),
    "three rows fewer": (_pool(lambda pool: pool.without([7, 8, 300])), {"row count"}),
    "one row more": (
        _pool(lambda pool: pool.with_row(100, np.arange(900, 1_000, dtype=np.uint32))),
        {"row count"},
    ),
    "shards": (_by_shards, {"shard order"}),
    "seed": (_pool(_same, seed=1234), {"seed"}),
    "epoch": (_pool(_same, epoch=2), {"seed or epoch"}),
    "dtype": (_pool(_same, dtype="int16"), {"dtype"}),
    "prefix space": (_built("tokenizer.add_prefix_space=true"), {"prefix space"}),
    "chunk algorithm": (_built("chunk.algorithm=ettin-reencode-v1"), {"chunk algorithm"}),
    "tokenizer": (_pool(_same, change=_other_words), {"tokenizer"}),
    "row": (_pool(_same, change=_one_other_id), {"rows"}),
}


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_each_divergence_is_called_by_its_name(
    out: Path,
    tmp_path: Path,
    build_here: Build,
    monkeypatch: pytest.MonkeyPatch,
    divergence: str,
) -> None:
    publish, kinds = DIVERGENCES[divergence]
    with serve(publish(tmp_path / "order", out, build_here)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        report = verify_against(out, server.where())
    assert {finding.kind for finding in report.findings} == kinds
    # Ids that a narrow type made negative are the same ids.
    assert report.equal == (divergence == "dtype")


def test_another_view_is_called_by_its_name(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(GOLDEN / "order" / "decoder") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        report = verify_against(out, server.where(), view="encoder")
    assert not report.equal
    assert {finding.kind for finding in report.findings} == {"view"}


def test_a_partition_that_was_made_again_is_called_by_its_name(
    tmp_path: Path, build_here: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = REFERENCE / "slice-1024" / "mixture.yaml"
    out = build_here(mixture, tmp_path / "out")
    other = build_here(mixture, tmp_path / "other", "tokenizer.add_prefix_space=true")
    pool = planted.read(out)
    again = planted.read(other).with_partitions(pool.names)
    name = sorted(pool.names, key=lambda one: len(pool.rows_of(one)))[1]
    with serve(planted.published(tmp_path / "order", pool.remade(name, again))) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        report = verify_against(out, server.where())
    assert not report.equal
    [finding] = report.findings
    assert finding.kind == "partition"
    assert name.partition("-tokenized")[0] in finding.text
