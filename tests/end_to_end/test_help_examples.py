"""Every example of `--help` runs as it is printed."""

import io
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from support import published_layouts as layouts
from support.help_commands import COMMANDS
from support.help_workspace import write_workspace
from support.hub_push import asked_hub
from support.source_server import serve

from pipeline import cli

DIFFERS = 1
EXITS = {
    # These two compare things that differ.
    "ettin-data diff letters.yaml clean.yaml": DIFFERS,
    "ettin-data diff sample-out sample-decoder": DIFFERS,
    # The data set of the stand-in has not the published bytes.
    "ettin-data attest hf://datasets/jhu-clsp/ettin-extension-data": DIFFERS,
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the examples read, and the Hub that their addresses mean."""
    folder = tmp_path_factory.mktemp("help")
    repos = write_workspace(folder)
    with (
        serve(repos, gated=[layouts.ORDER]) as server,
        pytest.MonkeyPatch.context() as patch,
        asked_hub(folder / "cache", patch),
    ):
        patch.setenv("HF_ENDPOINT", server.endpoint)
        patch.setenv("HF_TOKEN", "")
        patch.setenv("HF_HOME", str(folder / "home"))
        patch.chdir(folder)
        yield folder


# How the library of the Hub calls its own client.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.timeout(300)
def test_every_example_of_the_help_runs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # `show` ends where its page is ready, as by Ctrl-C.
    monkeypatch.setattr("pipeline.show.serve", lambda shown, found, ready: found.close())
    monkeypatch.setattr("os._exit", exit)
    examples = [one for parser in COMMANDS.values() for one in parser.examples]
    assert EXITS.keys() <= {*examples}
    failed = []
    for example in examples:
        code, told = run(example)
        if code != EXITS.get(example, 0):
            failed.append(f"{example}: exit {code}\n{told}")
    assert not failed, "\n".join(failed)


def run(example: str) -> tuple[int, str]:
    """Run an example in this process; return its exit code and what it says on stderr."""
    arguments = shlex.split(example)
    target = None
    if arguments[-2] == ">":
        *arguments, _, target = arguments
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            code = cli.main(arguments[1:])
        except SystemExit as ended:
            code = int(ended.code or 0)
    if target is not None:
        Path(target).write_text(out.getvalue())
    return code, err.getvalue()
