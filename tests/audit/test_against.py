"""Verify against: an output is equal to itself in every form, and to the published layout."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import builds
from support.clusters import Build
from support.order_server import serve
from support.orders import Row, write_order
from support.paths import SHARED
from support.verified import EQUAL, WINDOWS, verdicts

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.report import as_json, lines

GOLDEN = SHARED / "golden"


@pytest.mark.parametrize("what", ["", "manifest.json", "order", "train"])
def test_an_output_is_equal_to_itself_in_every_form(finished: Path, what: str) -> None:
    report = verify_against(finished, str(finished / what))
    assert report.equal
    assert report.findings == ()
    assert lines(report)[-1] == "equal"
    assert all(verdict == EQUAL for verdict in verdicts(report))
    assert len(report.comparison.windows) == (9 if what == "train" else 4)
    assert report.comparison.of == ("pool" if what == "train" else "order")
    assert as_json(report)["equal"] is True


@dataclass(frozen=True)
class Reference:
    """An output of the reference chain and ours of the same mixture."""

    folder: Path
    out: Path


@pytest.fixture(scope="session", params=["reencode-1024", "reencode-edge", "slice-edge"])
def reference(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    build_here: Build,
) -> Reference:
    folder = GOLDEN / request.param
    if not folder.is_dir():
        pytest.skip(f"the reference chain's outputs do not lie at {GOLDEN}")
    out = build_here(folder / "mixture.yaml", tmp_path_factory.mktemp(request.param) / "out")
    return Reference(folder, out)


@pytest.mark.parametrize("view", ["encoder", "decoder"])
def test_the_orders_of_the_reference_chain_are_verified(reference: Reference, view: str) -> None:
    order = reference.folder / "order" / view
    for part in ({}, {"window": 1}, {"rows": (100, 200)}, {"steps": (3, 9)}):
        assert verify_against(reference.out, str(order), **part).equal


def test_the_pools_of_the_reference_chain_are_verified(reference: Reference) -> None:
    report = verify_against(reference.out, str(reference.folder / "train"))
    assert report.equal
    assert report.comparison.of == "pool"


def test_the_command_says_equal_or_not_by_its_exit_code(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    manifest = tmp_path / "order.json"
    told = builds.run_well("digest", finished / "order", "--out", manifest)
    assert told.startswith(f"{manifest}: 2,688 rows, 316,099 tokens, sequence ")
    told = builds.run_well("verify", finished, "--against", manifest, "--steps", "1:65")
    assert told.endswith("rows 848:1,024 are equal\nequal\n")
    assert builds.run_well("diff", finished, manifest).endswith(": nothing differs\n")

    changed = [*rows[:2000], [1, 2, 3], *rows[2001:]]
    order = write_order(tmp_path / "order", changed, WINDOWS)
    done = builds.run("verify", finished, "--against", order, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["equal"], report["differing"]) == (False, [2000])
    done = builds.run("diff", finished, order)
    assert done.returncode == 1
    assert "the first difference is among rows 1,024:2,048" in done.stdout


def test_the_command_says_what_is_not_there_and_what_is_bad(finished: Path, tmp_path: Path) -> None:
    done = builds.run("verify", finished, "--against", finished, "--rows", "5:9000")
    assert done.returncode == 1
    assert "rows 0 to 2,687" in done.stderr
    done = builds.run("verify", finished, "--against", tmp_path / "nothing")
    assert done.returncode == 2
    assert "not found, expected" in done.stderr
    done = builds.run("digest", tmp_path, "--out", tmp_path / "order.json")
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_the_command_verifies_a_remote_order_through_faults(finished: Path, tmp_path: Path) -> None:
    status = {"kind": "status", "headers": {"Retry-After": "0"}}
    faults = [{**status, "status": 429}, {**status, "status": 503, "skip": 2}]
    with serve(finished / "order", faults=faults) as server:
        endpoint = server.endpoint
        told = builds.run_well(
            "verify", finished, "--against", server.where(), HF_ENDPOINT=endpoint
        )
        assert told.endswith("equal\n")
        manifest = tmp_path / "order.json"
        builds.run_well("digest", server.where(), "--out", manifest, HF_ENDPOINT=endpoint)
    assert builds.run_well("verify", finished, "--against", manifest).endswith("equal\n")
