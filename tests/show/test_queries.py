"""Queries: parsed once, strictly; and whatever they ask, the answer is an answer or an error."""

import json
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.builds import environment, run_well
from support.traced import write_output

from pipeline.core.errors import ConfigError, PipelineError
from pipeline.show import VIEWS, Shown, answer


@pytest.mark.parametrize(
    ("name", "query", "message"),
    [
        ("nothing", "", "'nothing': is no view, expected one of about, order,"),
        ("step", "", r"step: got no step, expected it as step\?step=…"),
        (
            "step",
            "stp=1",
            "step: got the parameter 'stp', expected step, first, rows; did you mean \"step\"",
        ),
        ("step", "step=1&step=2", "step: got the parameter step twice, expected it once"),
        ("step", "step=-1", "step: got '-1', expected an integer of at least 0"),
        ("step", "step=1e3", "step: got '1e3', expected an integer"),
        ("step", "step=٣", "step: got '٣', expected an integer"),
        ("step", f"step={'9' * 5000}", "expected an integer"),
        ("step", "step", "step: got a query of another form, expected UTF-8 as name=value"),
        ("document", "document=%ff", "document: got a query of another form, expected UTF-8"),
        ("about", "x=1", "about: got the parameter 'x', expected none"),
        ("compare", "with=", "with: got nothing, expected a path"),
    ],
)
def test_a_query_that_means_nothing_is_refused(
    shown: Shown, name: str, query: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        answer(shown, name, query)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    out = tmp_path_factory.mktemp("little")
    write_output(out, [("a", "x"), ("b", "y\u202e<b>"), ("a", "x")])
    return Shown.open(out)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([one for one in VIEWS if one not in ("search", "compare")]),
    query=st.one_of(
        st.text(max_size=30),
        st.builds(
            "{}={}&{}={}".format,
            st.sampled_from(["step", "row", "first", "last", "columns", "document", "source"]),
            st.one_of(st.integers(0, 5).map(str), st.text(max_size=5), st.just("99999999999999")),
            st.sampled_from(["row", "last", "source", "document"]),
            st.one_of(st.integers(0, 5).map(str), st.text(max_size=5)),
        ),
    ),
)
def test_any_query_has_an_answer_or_an_error(little: Shown, name: str, query: str) -> None:
    with suppress(PipelineError):
        json.dumps(answer(little, name, query), allow_nan=False)


def test_every_answer_has_a_command_and_a_call_that_give_the_same(
    shown: Shown, finished: Path, small: Path
) -> None:
    for name, query in (
        ("about", ""),
        ("order", "first=2&last=9&columns=3"),
        ("step", "step=3"),
        ("row", "row=5"),
        ("document", "document=long-2"),
        ("budget", ""),
        ("proof", "row=17"),
    ):
        found = answer(shown, name, query)
        *imports, call = found["python"].split("\n")
        names: dict = {}
        exec("\n".join([*imports, f"found = {call}"]), names)
        assert names["found"] == found, name
    assert shlex.split(answer(shown, "step", "step=3")["command"]) == [
        *("ettin-data", "trace", str(finished), "--step", "3", "--text"),
    ]
    printed = run_well(
        "show", finished, "--get", "order?first=2&last=9&columns=3", cwd=small.parent
    )
    assert json.loads(printed) == answer(shown, "order", "first=2&last=9&columns=3")
    command = answer(shown, "budget", "")["command"]
    done = subprocess.run(
        command.replace("ettin-data", f"{sys.executable} -m pipeline", 1),
        shell=True, capture_output=True, text=True, check=True, cwd=small.parent,
        env=environment(),
    )  # fmt: skip
    assert json.loads(done.stdout) == answer(shown, "budget", "")
