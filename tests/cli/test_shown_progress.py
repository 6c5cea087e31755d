"""Progress on stderr: lines, JSON and bars, by a clock of the test's own."""

import json
import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import REPOSITORY

from pipeline.cli import shown_progress as progress
from pipeline.cli.main import build_parser
from pipeline.cli.shown_progress import COMPILING, say_compiling
from pipeline.core.progress import Work

TEXT = Namespace(json_progress=False)
JSON = Namespace(json_progress=True)
GUIDE = (REPOSITORY / "docs/guide/command-line.md").read_text()


class Clock:
    """Tells the time that a test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr("pipeline.cli.shown_progress.time.monotonic", clock)
    return clock


def printer(shown: list[str], **more: float) -> progress.Printer:
    def show(stage: progress.Stage, now: float) -> None:
        shown.append(f"{stage.name} {stage.amount()} {stage.details(now)}".strip())

    return progress.Printer(show, **more)


def test_a_short_stage_is_one_line_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress(TEXT) as report:
        report("read", 0, 2)
        report("read", 1, 2)
        report("read", 2, 2)
        report("order", 3000, 3000)
    assert capsys.readouterr().err == "read: 2/2\norder: 3,000/3,000\n"


def test_a_long_stage_is_a_line_a_minute_with_rates_and_the_rest(clock: Clock) -> None:
    shown: list[str] = []
    one = printer(shown)
    one.report("chunk", 0, 300)
    for second in range(1, 151):
        clock.now = 100.0 + second
        work = Work(num_bytes=second << 20, num_tokens=2000 * second)
        one.report("chunk", 2 * second, 300, work)
    rates = "2 tasks/s, 1MiB/s, 2k tokens/s"
    assert shown == [
        f"chunk 120/300 {rates}, 2 min left",
        f"chunk 240/300 {rates}, 30 s left",
        f"chunk 300/300 in 3 min, {rates}",
    ]


def test_a_task_that_takes_long_is_a_line_a_minute_too(clock: Clock) -> None:
    shown: list[str] = []
    one = printer(shown)
    one.remind()
    one.report("sort", 0, 2)
    for minute in (1, 2):
        for second in (0, 30):
            clock.now = 100.0 + 60 * minute + second
            one.remind()
    assert shown == ["sort 0/2 ? tasks/s, ? left"] * 2
    one.report("sort", 1, 2)
    clock.now += 80
    one.remind()
    assert shown[2:] == ["sort 1/2 24 tasks/h, 2 min left"]


def test_nothing_is_known_in_the_first_seconds(clock: Clock) -> None:
    shown: list[str] = []
    one = printer(shown, pause=0.0)
    one.report("pull", 0, 4096, Work(unit="bytes"))
    clock.now += 2
    one.report("pull", 1024, 4096, Work(unit="bytes", num_bytes=1024))
    clock.now += 2
    one.report("pull", 2048, 4096, Work(unit="bytes", num_bytes=2048))
    assert shown == [
        "pull 0B/4KiB ?/s, ? left",
        "pull 1KiB/4KiB ?/s, ? left",
        "pull 2KiB/4KiB 512B/s, 4 s left",
    ]


def test_a_stage_that_comes_again_begins_again(clock: Clock) -> None:
    shown: list[str] = []
    one = printer(shown)
    for _ in range(2):
        one.report("scatter", 0, 10)
        clock.now += 5
        one.report("scatter", 10, 10)
    assert shown == ["scatter 10/10 in 5 s, 2 tasks/s"] * 2


def test_work_of_before_counts_for_no_rate(clock: Clock) -> None:
    shown: list[str] = []
    one = printer(shown)
    one.report("train", 1000, 1100, Work(unit="steps"))
    clock.now += 60
    one.report("train", 1060, 1100, Work(unit="steps"))
    clock.now += 40
    one.report("train", 1100, 1100, Work(unit="steps"))
    assert shown == [
        "train 1,060/1,100 1 steps/s, 40 s left",
        "train 1,100/1,100 in 2 min, 1 steps/s",
    ]


def test_the_disk_that_is_left_is_shown_of_a_place_that_is_not_there_yet(
    clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.show_progress(TEXT, tmp_path / "out" / "deeper") as report:
        report("read", 0, 2)
        clock.now += 5
        report("read", 2, 2)
    line = capsys.readouterr().err
    assert re.fullmatch(r"read: 2/2, in 5 s, 24 tasks/min, [\d.]+[KMGTP]iB free\n", line)


def test_json_has_the_documented_keys_at_the_begin_the_end_and_each_second(
    clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.show_progress(JSON, tmp_path) as report:
        report("chunk", 0, 100)
        for tenth in range(1, 101):
            clock.now = 100.0 + tenth / 10
            report("chunk", tenth, 100, Work(num_bytes=tenth, num_tokens=10 * tenth))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["done"] for one in lines] == [0, *range(10, 101, 10)]
    documented = re.findall(r"`(\w+)`", " ".join(re.findall(
        r"^\| ([^|]*) \|", GUIDE.split("| key of `progress` | holds |")[1].split("\n\n")[0], re.M
    )))  # fmt: skip
    assert {*lines[0]} == {*documented, "event"}
    assert lines[0]["seconds_left"] is None
    last = lines[-1]
    assert last.pop("disk_free_bytes") > 0
    assert last == {
        "event": "progress", "stage": "chunk", "unit": "tasks", "done": 100, "total": 100,
        "per_second": 10.0, "seconds": 10.0, "seconds_left": 0.0, "bytes": 100,
        "bytes_per_second": 10.0, "tokens": 1000, "tokens_per_second": 100.0,
    }  # fmt: skip
    assert lines[5]["seconds_left"] == pytest.approx(5, abs=0.5)


def test_a_terminal_gets_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress.show_progress(TEXT) as report:
        for _ in range(2):
            report("[b]read", 0, 2, Work(unit="rows"))
            report("[b]read", 2, 2, Work(unit="rows"))
        report("pull", 2048, 4096, Work(unit="bytes"))
        # Standard output is no terminal, such as a pipe, and so gets what is printed to it.
        print("an answer")
    out, shown = capsys.readouterr()
    assert out == "an answer\n"
    assert "[b]read" in shown
    assert "2/2" in shown
    assert "2KiB/4KiB" in shown


@pytest.mark.parametrize(
    ("per_second", "unit", "shown"),
    [
        (None, "rows", "? rows/s"),
        (None, "bytes", "?/s"),
        (1234567.0, "tokens", "1.2M tokens/s"),
        (12.3, "tasks", "12 tasks/s"),
        (0.05, "tasks", "3 tasks/min"),
        (0.001, "tasks", "3.6 tasks/h"),
        (0.0, "tasks", "0 tasks/h"),
        (3.4e6, "bytes", "3.2MiB/s"),
    ],
)
def test_a_rate_has_a_unit_in_which_it_is_a_number_to_read(
    per_second: float | None, unit: str, shown: str
) -> None:
    assert progress.format_rate(per_second, unit) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "?"), (0, "0 s"), (0.2, "1 s"), (59.5, "60 s"), (61, "2 min"), (5400, "1.5 h"),
     (86400 * 4, "4.0 days")],
)  # fmt: skip
def test_a_time_is_rounded_up(seconds: float | None, shown: str) -> None:
    assert progress.format_seconds(seconds) == shown


def test_the_next_commands_are_quoted_and_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress.say_next(TEXT, ["verify", Path("my out")], ["show", "out"])
    progress.say_next(JSON, ["verify", "out"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["next: ettin-data verify 'my out'", "next: ettin-data show out"]
    assert json.loads(lines[2]) == {"event": "next", "commands": ["ettin-data verify out"]}


def test_every_command_that_shows_progress_takes_the_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser, _ = build_parser()
    for verb in ("build", "order", "pull", "lock", "verify", "search-index", "train", "digest",
                 "diff", "report", "attest"):  # fmt: skip
        with pytest.raises(SystemExit):
            parser.parse_args([verb, "--help"])
        assert "--json-progress" in capsys.readouterr().out


def test_code_that_is_compiled_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.core import compiled

    for as_json, line in ((False, COMPILING), (True, '{"event": "compile"}')):
        with say_compiling(as_json=as_json):
            compiled._announce_once()
            compiled._announce_once()
        compiled._announce_once()
        assert capsys.readouterr().err == f"{line}\n"
