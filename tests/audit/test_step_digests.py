"""Step digests: an output against a table of the digests of its steps."""

import csv
import hashlib
import json
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import builds
from support.orders import Row, read_rows
from support.verified import BATCH, NUM_ROWS

from pipeline.audit.verify import verify_steps
from pipeline.audit.verify.step_digests import is_step_table
from pipeline.core.errors import InputError, NotFoundError

NUM_STEPS = NUM_ROWS // BATCH
GOOD = "a" * 64


def digests(rows: list[Row]) -> list[str]:
    found = []
    for start in range(0, len(rows), BATCH):
        packed = [struct.pack(f"<{1 + len(row)}I", len(row), *row) for row in rows[start:][:BATCH]]
        found.append(hashlib.sha256(b"".join(packed)).hexdigest())
    return found


def table(path: Path, found: list[str], first: int = 1) -> str:
    rows = [{"step": step, "sha256": digest} for step, digest in enumerate(found, first)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ("step", "sha256"))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_an_output_is_equal_to_the_digests_of_its_steps(
    finished: Path, rows: list[Row], tmp_path: Path, suffix: str
) -> None:
    what = table(tmp_path / f"steps{suffix}", digests(rows))
    assert builds.run_well("verify", finished, "--against", what).endswith("equal\n")
    changed = digests([*rows[:1600], [1, 2, 3], *rows[1601:]])
    what = table(tmp_path / f"steps{suffix}", changed)
    done = builds.run("verify", finished, "--against", what, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["equal"], told["differing"]) == (1, False, [101])
    assert [one["kind"] for one in told["findings"]] == ["unknown"]
    assert verify_steps(finished, what, steps=(1, 101)).equal
    assert not verify_steps(finished, what, steps=(101, 102)).equal
    assert not verify_steps(finished, what, window=2).equal
    assert verify_steps(finished, what, window=1).equal


def test_a_table_of_some_steps_is_compared_where_they_are(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    some = digests(rows)[4:9]
    report = verify_steps(finished, table(tmp_path / "some.csv", some, 5))
    assert (report.differing, report.num_missing) == ((), NUM_STEPS - 5)
    shifted = verify_steps(finished, table(tmp_path / "shifted.csv", digests(rows)[3:], 1))
    assert [one.kind for one in shifted.findings] == ["position"]
    assert shifted.findings[0].evidence["shift"] == 3
    with pytest.raises(NotFoundError, match=r"has steps 5 to 9, of which steps 1:3"):
        verify_steps(finished, str(tmp_path / "some.csv"), steps=(1, 3))


def test_another_view_and_another_seed_are_told(
    viewed: dict[str, Path], replayed: dict[str, Path], finished: Path, tmp_path: Path
) -> None:
    encoder = digests(read_rows(viewed["encoder"] / "order"))
    report = verify_steps(viewed["stored"], table(tmp_path / "view.csv", encoder))
    assert report.equal
    assert report.view == "encoder"
    report = verify_steps(viewed["stored"], table(tmp_path / "view.csv", [GOOD, *encoder[1:]]))
    assert (report.view, report.differing) == ("encoder", (1,)), "one step does not tell the view"
    other = digests(read_rows(replayed["other"] / "order"))
    report = verify_steps(finished, table(tmp_path / "seed.csv", other))
    assert len(report.differing) == NUM_STEPS
    assert [one.kind for one in report.findings] == ["seed or epoch"]
    assert report.findings[0].evidence["seed"] + report.findings[0].evidence["epoch"] == 22


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got columns none, expected step and sha256"),
        ("step,digest\n1,2\n", "got columns step, digest, expected step and sha256"),
        ("step,sha256\n", "got no rows, expected a digest for each step"),
        (f"step,sha256\n1,{GOOD}\n1,{GOOD}\n", "row 2: got step 1 again"),
        (f"step,sha256\n1,{GOOD}\n3,{GOOD}\n", "step 2 is missing, expected each from 1 to 3"),
        (f"step,sha256\n1,{GOOD[1:]}\n", "row 1: got sha256 'aaa"),
        (f"step,sha256\n1,{GOOD[1:]}g\n", "expected 64 hex digits"),
        (f"step,sha256\nx,{GOOD}\n", "row 1: got step 'x', expected a number from 1"),
        (f"step,sha256\n0,{GOOD}\n", "row 1: got step '0', expected a number from 1"),
    ],
)
def test_bad_tables_are_refused(finished: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "steps.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        verify_steps(finished, str(path))
    assert message in caught.value.message


def test_lines_that_are_no_json_and_other_files_are_told(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_text('{"step": 1\n')
    with pytest.raises(InputError, match="got a table that cannot be read"):
        verify_steps(finished, str(path))
    assert is_step_table(str(finished / "order" / "steps.parquet"))
    assert not is_step_table(str(finished / "manifest.json"))
    assert not is_step_table(str(next((finished / "order").glob("*/*.parquet"))))
    done = builds.run("verify", finished, "--against", path, "--rows", "1:2")
    assert (done.returncode, "has digests of whole steps" in done.stderr) == (2, True)
