"""Every command in the README runs, and every verb is in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import builds, pages
from support.paths import REPOSITORY

from pipeline.config import load_mixture

ROOT = REPOSITORY
README = (ROOT / "README.md").read_text()
VERBS = [
    "new",
    "plan",
    "lock",
    "pull",
    "build",
    "cache",
    "order",
    "verify",
    "attest",
    "digest",
    "diff",
    "trace",
    "show",
    "feed",
    "train",
    "export",
    "schema",
    "doctor",
]


def blocks(mark: str) -> list[str]:
    """Return the shell blocks between a mark and its end."""
    return re.findall(rf"<!-- {mark} -->\n```sh\n(.*?)```\n<!-- end -->", README, re.DOTALL)


def run(script: str, folder: Path, *, installed: bool) -> str:
    """Run a script as a reader would, with or without the tool on the path."""
    path = os.environ["PATH"]
    if installed:
        path = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_shell_block_is_marked_for_a_test() -> None:
    marked = [*blocks("run"), *blocks("main command"), *blocks("test command")]
    assert len(marked) == README.count("```sh") > 4


@pytest.mark.timeout(1200)
def test_the_examples_run_one_after_the_other(tmp_path: Path) -> None:
    (command,) = blocks("main command")
    installed = command.split(" && ", 2)[2].replace(".venv/bin/", "")
    out = run(installed, tmp_path, installed=True)
    for text in blocks("run"):
        out += pages.run_block(pages.Block("run", "sh", text), tmp_path)
    assert "sample-out: every file matches the manifest" in out
    assert "letters: every file matches the manifest" in out
    assert "[50281, " in out
    assert "'start_row': 0, 'num_rows': 1" in out
    assert (tmp_path / "letters-decoder" / "manifest.json").is_file()
    (shown,) = re.findall(r"```yaml\n(name: letters\n.*?)```", README, re.DOTALL)
    written = load_mixture(tmp_path / "letters.yaml")
    assert load_mixture(tmp_path / "shown.yaml", text=shown.encode()) == written
    # Sixteen rows of a step, the rows of a document and of a text, and a table by source.
    assert len(re.findall(r"^row \d+, step 3: ", out, re.MULTILINE)) >= 16
    assert re.search(r'^row \d+, step \d+: prose \S+ "prose-0007" chunk 1 of 1', out, re.MULTILINE)
    assert re.search(r"^row \d+ at \d+, step \d+: ", out, re.MULTILINE)
    assert re.search(r"^checkpoint step\d+: steps ", out, re.MULTILINE)
    assert len(re.findall(r"^equal$", out, re.MULTILINE)) == 3
    assert "order.view: stored -> decoder" in out
    assert "'input_ids': (1, " in out
    assert "'row': 4" in out
    assert (tmp_path / "model" / "config.json").is_file()
    assert "(64,)\nThe boat left" in out
    assert "recall of the 32 rows that it saw" in out
    assert len(re.findall(r"^\['.*', '.*', '.*', '.*', '.*'\]$", out, re.MULTILINE)) == 1


@pytest.mark.slow
def test_the_main_command_runs_in_a_fresh_clone(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tmp_path / "clone")], check=True)
    (command,) = blocks("main command")
    out = run(command, tmp_path / "clone", installed=False)
    assert "sample-out: every file matches the manifest" in out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_is_documented(verb: str) -> None:
    assert "usage: ettin-data" in builds.run_well(verb, "--help")
    assert f"`ettin-data {verb}" in README


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    (command,) = blocks("test command")
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    taken = [line for line in lines if not line.startswith(("bash", "echo", "#"))]
    script = "\n".join([*taken, 'printf "%s" "$command"']).replace("$0", ".ci/run")
    done = run(script, ROOT, installed=False)
    assert done == command.rstrip("\n")


def test_every_link_between_the_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    links = [
        (page, *link)
        for page in pages
        for link in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text())
        if "://" not in link[0]
    ]
    assert links
    for page, path, heading in links:
        target = page.parent / path if path else page
        assert target.exists(), f"{page}: {path}"
        if heading and target.suffix == ".md":
            assert heading in headings(target), f"{page}: {path}#{heading}"


def headings(page: Path) -> set[str]:
    """Return what leads to the headings of a page, as its host makes them."""
    titles = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
