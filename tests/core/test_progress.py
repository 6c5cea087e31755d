"""Progress is a line per stage where stderr is no terminal."""

import pytest

from pipeline.core import progress


def test_a_stage_is_one_line_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress() as show:
        show("read", 1, 2)
        show("read", 2, 2)
        show("order", 3, 3)
    assert capsys.readouterr().err == "read: 2/2\norder: 3/3\n"


def test_a_long_stage_is_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("pipeline.core.progress.time.monotonic", lambda: now)
    with progress.show_progress() as show:
        for done, seconds in enumerate((5, 10, 19, 20), start=1):
            now = 100.0 + seconds
            show("read", done, 9)
    assert capsys.readouterr().err == "read: 2/9\nread: 4/9\n"


def test_bytes_come_with_their_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("pipeline.core.progress.time.monotonic", lambda: now)
    with progress.show_bytes() as show:
        now = 104.0
        show("pull", 4096, 4096)
    assert capsys.readouterr().err == "pull: 4KiB/4KiB, 1KiB/s\n"


def test_a_terminal_gets_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for bars in (progress.show_progress, progress.show_bytes):
        with bars() as show:
            show("read", 1, 2)
            show("read", 2, 2)
    assert capsys.readouterr().err.count("read") >= 2
