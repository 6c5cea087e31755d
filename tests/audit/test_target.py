"""Targets: manifests, outputs and orders on disk or remote are opened; all else is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.order_server import serve
from support.orders import Row, open_rows, write_order
from support.verified import NUM_ROWS, WINDOWS, digested

from pipeline.audit.verify.against import verify_against
from pipeline.core.errors import InputError, PipelineError
from pipeline.dataset.sealed_json import seal


def test_an_order_with_its_manifest_beside_it_is_an_order(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    order = write_order(tmp_path / "order", rows, WINDOWS)
    digested(order, order / "manifest.json")
    report = verify_against(finished, str(order))
    assert report.equal
    assert report.comparison.target.kind == "published order"
    (order / "manifest.json").write_text("{}")
    assert verify_against(finished, str(order)).equal


@pytest.mark.parametrize("data", [b"", b"[1]", b'{"format": "ettin-manifest-v0"}'])
def test_an_output_whose_manifest_is_damaged_is_no_order(
    finished: Path, tmp_path: Path, data: bytes
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished / "order", out / "order")
    (out / "manifest.json").write_bytes(data)
    with pytest.raises(
        InputError, match=r"is damaged|without a format|of format '.*-v0', expected"
    ):
        verify_against(finished, str(out))


Spoil = Callable[[dict[str, Any]], None]


def _spoiled(spoil: Spoil) -> Callable[[Path, Path], None]:
    def write(finished: Path, path: Path) -> None:
        manifest = json.loads((finished / "manifest.json").read_bytes())
        spoil(manifest)
        path.write_bytes(seal(manifest))

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda out, path: None, "not found"),
        (lambda out, path: path.write_text("{}"), "without a format"),
        (lambda out, path: path.write_text("[1]"), "without a format"),
        (lambda out, path: path.write_bytes(b"\xff\x00"), "not valid JSON"),
        (
            lambda out, path: path.write_bytes((out / "manifest.json").read_bytes() + b" "),
            "is damaged",
        ),
        (_spoiled(lambda m: m.update(format="ettin-manifest-v0")), "format 'ettin-manifest-v0'"),
        (_spoiled(lambda m: m["order"].pop("ledger")), "order.ledger: got nothing"),
        (_spoiled(lambda m: m["order"]["ledger"].update(num_rows=7)), "ledger: got 96 bytes"),
        (_spoiled(lambda m: m["order"]["windows"].pop()), "windows: got other rows than the"),
        (_spoiled(lambda m: m["order"]["windows"][0].pop("num_rows")), "num_rows: got nothing"),
    ],
)
def test_a_file_that_is_no_manifest_of_ours_is_refused(
    finished: Path, tmp_path: Path, write: Callable[[Path, Path], None], message: str
) -> None:
    path = tmp_path / "manifest.json"
    write(finished, path)
    with pytest.raises(InputError, match=message):
        verify_against(finished, str(path))


@pytest.mark.parametrize("what", ["nothing", "empty", "unfinished", "ftp://somewhere"])
def test_what_is_nothing_known_is_refused(finished: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished" / ".ettin").mkdir(parents=True)
    with pytest.raises(InputError):
        verify_against(finished, what if ":" in what else str(tmp_path / what))


def test_a_folder_without_a_manifest_is_no_output(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        verify_against(tmp_path, str(finished))


WHOLE = {"status": 429, "kind": "status", "headers": {"Retry-After": "0"}}


FAULTS = [
    [],
    [{**WHOLE, "times": 3}],
    [{**WHOLE, "status": 503, "times": 2}],
    [{"kind": "cut", "bytes": 1000}],
    [{"kind": "drip", "bytes": 20_000, "seconds": 0.001, "times": -1}],
    [{"kind": "stall", "seconds": 0.3}],
]


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: faults[0]["kind"] if faults else "")
def test_a_remote_order_is_verified_whole_and_in_part_whatever_befalls_the_network(
    finished: Path, monkeypatch: pytest.MonkeyPatch, faults: list[dict[str, Any]]
) -> None:
    with serve(finished / "order") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        server.set_faults(faults)
        report = verify_against(finished, server.where())
        assert report.equal
        assert [one.name for one in report.comparison.windows] == [
            f"checkpoint_{n:06d}" for n in (1, 2, 3, 4)
        ]
        server.set_faults(faults)
        assert verify_against(finished, server.where(), steps=(100, 120)).equal


def test_of_a_remote_order_only_the_window_asked_for_is_read(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(finished / "order") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        assert verify_against(finished, server.where(), window=3).equal
        log = [line for line in server.counters()["log"] if ".parquet" in line]
        assert log
        assert all("checkpoint_000003" in line for line in log)


def test_no_byte_of_a_remote_order_is_fetched_twice(
    finished: Path, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Row groups of 200 rows, and windows that end within one.
    order = write_order(tmp_path / "order", rows, [NUM_ROWS])
    with serve(order) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        for start, stop in ((0, NUM_ROWS), (430, 2290)):
            server.reset()
            assert sum(map(len, open_rows(server.where()).read(start, stop))) == stop - start
            needed = server.counters()["bytes"]
            server.reset()
            assert verify_against(finished, server.where(), rows=(start, stop)).equal
            assert server.counters()["bytes"] == needed


def test_a_remote_order_that_differs_is_found_to(
    finished: Path, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = [*rows]
    changed[5] = [1, 2]
    with serve(write_order(tmp_path / "order", changed, WINDOWS)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        report = verify_against(finished, server.where())
        assert report.comparison.differing.tolist() == [5]


def test_a_remote_order_that_stays_away_is_an_error(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(finished / "order", gated=True) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        with pytest.raises(PipelineError) as caught:
            verify_against(finished, server.where())
        assert caught.value.hint
