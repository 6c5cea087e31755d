"""The help of each command: its options are explained, its page of the guide is there."""

import json
import pickle
import re
from pathlib import Path

import pytest
from support.commands import call
from support.help_commands import COMMANDS
from support.paths import REPOSITORY

from pipeline.cli.main import EXIT_CODES, build_parser
from pipeline.core.errors import ConfigError, NotFoundError


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page as GitHub makes them from its headings."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def test_there_are_commands() -> None:
    assert {"ettin-data plan", "ettin-data cache prune"} <= COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_examples_of_its_own_and_a_page(command: str) -> None:
    parser = COMMANDS[command]
    assert len(set(parser.examples)) >= 2
    assert all(f"{one} ".startswith(f"{command} ") for one in parser.examples)
    assert parser.guide is not None
    page, _, anchor = parser.guide.partition("#")
    assert anchor in anchors(REPOSITORY / page)
    shown = parser.format_help().splitlines()
    assert {f"  {one}" for one in parser.examples} <= {*shown}
    assert shown[-1] == f"guide: {parser.guide}"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_is_explained(command: str) -> None:
    for action in COMMANDS[command]._actions:
        assert action.help, action.option_strings or action.dest


def test_the_exit_codes_are_in_the_readme_and_in_the_help() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    table = readme.split("| exit code | meaning |\n| --- | --- |\n")[1].split("\n\n")[0]
    told = {int(code): what for code, what in re.findall(r"^\| (\d+) \| (.*) \|$", table, re.M)}
    assert told == EXIT_CODES
    shown = build_parser()[0].format_help()
    assert all(f"  {code:<5}{what}\n" in shown for code, what in EXIT_CODES.items())


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (["verify", "nowhere"], "verify.md#verify-an-order"),  # Bad input, found as it runs.
        (["verify", "letters", "--rows", "x"], "verify.md#verify-an-order"),  # Misuse.
        (["cache", "prune"], "change-a-mixture.md#a-cache-of-chunks"),
        (["verfy"], "command-line.md#the-command-line"),
        ([], "command-line.md#the-command-line"),
    ],
)
def test_an_error_names_the_page_of_its_command(
    arguments: list[str], page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, *arguments, "--json")
    assert code == 2
    assert err.splitlines()[-1] == f"guide: docs/guide/{page}"
    assert json.loads(out)["guide"] == f"docs/guide/{page}"


def test_an_error_may_know_a_better_page(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "export", "s3://bucket/pre", "--out", "model")
    assert code == 2
    assert err.splitlines()[-1] == "guide: docs/guide/clusters.md#object-stores"


def test_every_page_that_an_error_names_is_there() -> None:
    named = {
        one
        for path in sorted((REPOSITORY / "pipeline").rglob("*.py"))
        for one in re.findall(r'"(docs/guide/[^"]*)"', path.read_text())
    }
    assert len(named) > 20
    for one in sorted(named):
        page, _, anchor = one.partition("#")
        assert anchor in anchors(REPOSITORY / page), one


def test_an_error_keeps_its_page_between_processes() -> None:
    error = ConfigError("here: got it", "leave it", guide="docs/guide/filters.md#filters")
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.hint, again.guide) == (error.message, error.hint, error.guide)


def test_an_error_that_is_no_misuse_names_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> Path:
        raise NotFoundError("step 7", "ask for another")

    monkeypatch.setattr("pipeline.cli.arguments.mixture_path", fail)
    assert call(capsys, "plan", "sample")[::2] == (1, "error: step 7\nhint: ask for another\n")
