"""What a plan says of the disk against what a build has on it, for mixtures of many shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import planned_shapes
from support.here import Here, run_here
from support.measured_build import Peak, watch

from pipeline.config.load import load_mixture
from pipeline.runner import measure_source, run, sampled_shards
from pipeline.runner.estimate import Estimate, make_estimate
from pipeline.runner.plan import make_plan

WITHIN = 0.15


@dataclass(frozen=True, kw_only=True)
class Compared:
    """An estimate, and the build that it is of."""

    estimate: Estimate
    peak: Peak
    output: Mapping[str, int]
    """The size of each file of the output."""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Compared]:
    folder = tmp_path_factory.mktemp("planned")
    planned_shapes.write_inputs(folder)
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch, sampled_shards, Here())
        # A quarter of what there is: most of each source is not looked at.
        patch.setattr(measure_source, "SAMPLE_BYTES", 1 << 17)
        return {shape: _limited(folder, shape) for shape in planned_shapes.SHAPES}


def _limited(folder: Path, shape: str) -> Compared:
    with pytest.MonkeyPatch.context() as patch:
        planned_shapes.limit_passes(patch, shape)
        return _compare(folder, shape)


def _compare(folder: Path, shape: str) -> Compared:
    path, out = planned_shapes.write_mixture(folder, shape), folder / "out" / shape
    mixture, memory = load_mixture(path), planned_shapes.memory_of(shape)
    estimate = make_estimate(
        make_plan(mixture, None, folder / "raw"), workers=1, memory_bytes=memory
    )
    with watch(out) as peak:
        run.build(
            mixture, out, workers=1, scheduler=None, report=_quiet, memory_bytes=memory,
            raw=folder / "raw",
        )  # fmt: skip
    output = {
        one.relative_to(out).as_posix(): one.stat().st_size
        for one in out.rglob("*")
        if one.is_file()
    }
    return Compared(estimate=estimate, peak=peak, output=output)


def _quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass


@pytest.mark.parametrize("shape", planned_shapes.SHAPES)
def test_the_peak_of_the_disk_is_as_planned(compared: Mapping[str, Compared], shape: str) -> None:
    one = compared[shape]
    disk = one.estimate.disk
    assert disk.peak_bytes == pytest.approx(one.peak.num_bytes, rel=WITHIN), (
        disk.bytes_by_kind,
        one.peak.by_kind,
    )
    assert disk.peak_files == pytest.approx(one.peak.num_files, rel=WITHIN)


@pytest.mark.parametrize("shape", planned_shapes.SHAPES)
def test_the_output_is_as_planned(compared: Mapping[str, Compared], shape: str) -> None:
    one = compared[shape]
    disk = one.estimate.disk
    assert disk.output_bytes == pytest.approx(sum(one.output.values()), rel=WITHIN)
    assert disk.output_files == pytest.approx(len(one.output), rel=WITHIN)


def test_the_peak_is_more_than_what_stays(compared: Mapping[str, Compared]) -> None:
    # Were nothing removed, the test above would say nothing of what is.
    assert all(one.peak.num_bytes > sum(one.output.values()) for one in compared.values())
