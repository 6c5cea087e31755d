"""Comparisons: the first row that differs, token by token, and why."""

import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.audit.verify import lines, verify_against
from pipeline.core.errors import ConfigError, InputError, NetworkError, NotFoundError
from pipeline.show import Shown, compare_view, row_view


def test_an_order_is_the_same_as_itself(shown: Shown, finished: Path) -> None:
    answer = compare_view(shown, other=str(finished))
    assert answer["same"]
    assert (answer["first_row"], answer["ours"], answer["theirs"]) == (None, [], [])
    assert answer["explanation"][-1] == "equal"


def test_the_first_row_that_differs_is_shown_side_by_side(shown: Shown, sliced: Path) -> None:
    answer = compare_view(shown, other=str(sliced))
    report = verify_against(Path(shown.where), str(sliced))
    assert not answer["same"]
    assert answer["first_row"] == report.comparison.first_difference
    assert answer["explanation"] == lines(report)
    ours, theirs = ([one["id"] for one in answer[side]] for side in ("ours", "theirs"))
    assert ours != theirs
    assert ours
    assert theirs
    if report.comparison.of == "order":
        row = answer["first_row"]
        assert theirs == [one["id"] for one in row_view(Shown.open(sliced), row=row)["tokens"]]


def test_a_manifest_has_no_rows_to_show(shown: Shown, sliced: Path) -> None:
    answer = compare_view(shown, other=str(sliced / "manifest.json"))
    assert not answer["same"]
    assert (answer["is_exact"], answer["ours"]) == (False, [])


@pytest.mark.parametrize("says", ["nothing", "no"])
def test_a_server_that_does_not_answer_is_waited_for_for_seconds(
    says: str, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = sys.modules["pipeline.show.compare_view"]
    policy = compare._FEW_SECONDS
    assert policy.max_tries * policy.timeout_seconds <= 10
    monkeypatch.setattr(compare, "_FEW_SECONDS", replace(policy, timeout_seconds=0.2))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if says == "nothing":
            server.listen()
        where = f"http://127.0.0.1:{server.getsockname()[1]}/order"
        began = time.monotonic()
        with pytest.raises(NetworkError, match=f"^{where}/manifest.json: .*gave up after 2 tries"):
            compare_view(shown, other=where)
    assert time.monotonic() - began < 10


def test_what_cannot_be_compared_is_refused(shown: Shown, finished: Path) -> None:
    with pytest.raises(InputError, match="nowhere: not found, expected an order"):
        compare_view(shown, other="nowhere")
    with pytest.raises(ConfigError, match="with: got nothing"):
        compare_view(shown, other="")
    with pytest.raises(NotFoundError, match="only the whole output of a build is compared here"):
        compare_view(Shown.open(finished / "order"), other="sample")
