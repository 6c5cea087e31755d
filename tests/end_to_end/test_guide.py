"""Every block of the guide is run, here or by the test that its mark names (`support/pages.py`)."""

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support import builds, pages
from support.paths import REPOSITORY

from pipeline.config.load import load_config, load_recipe

GUIDE = REPOSITORY / "docs" / "guide"
PAGES = sorted(path.name for path in GUIDE.glob("*.md"))
OTHERS = {
    "clusters.md": "tests/end_to_end/test_clusters_page.py",
    "own-filters.md": "tests/end_to_end/test_own_filters.py",
}
"""Pages whose blocks are run by a test of their own."""

NOT_RUN = {
    "clusters.md": [
        "there was no Kubernetes; the file is checked against the schema of the operator",
        "there was no Kubernetes; the command is parsed",
        "there was no Kubernetes; the command is parsed and its shell run",
        "there was no container runtime",
    ],
}
"""All that no test runs, and why."""


def write_letters(folder: Path) -> None:
    """Write `mixture.yaml` and its files."""
    for number in range(3):
        lines = builds.json_lines(builds.documents(f"letters-{number}", 8 + 8 * number, 60))
        (folder / f"letters-{number}.jsonl").write_bytes(lines)
    mixture = (
        "name: letters\n"
        "chunk: {size: 64}\n"
        'sources: {letters: {from: {path: "letters-*.jsonl"}}}\n'
        "order: {seed: 21, global_batch_size: 4, max_seq_len: 64}\n"
    )
    builds.write_mixture(folder, mixture, "mixture.yaml")


def write_earlier_build(folder: Path) -> None:
    """Write what `change-a-mixture.md` begins with: a build with another seed, two mixtures."""
    write_letters(folder)
    builds.run_well("build", "mixture.yaml", "--out", "out", "--set", "order.seed=1", cwd=folder)
    for name in ("first.yaml", "second.yaml"):
        shutil.copy(folder / "mixture.yaml", folder / name)


def copy_parts(folder: Path) -> None:
    """Copy what the shipped mixtures share."""
    shutil.copytree(REPOSITORY / "mixtures" / "parts", folder / "parts")


def write_own_files(folder: Path) -> None:
    """Write the three kinds of files of `own-data.md`."""
    (folder / "data" / "notes").mkdir(parents=True)
    posts = builds.json_lines(builds.documents("post", 40, 80))
    (folder / "data" / "posts.jsonl").write_bytes(posts)
    with (folder / "data" / "answers.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("number", "question", "answer"))
        for number, one in enumerate(builds.documents("answer", 20, 60)):
            rows.writerow((number, "Why?", one["text"]))
    for number, one in enumerate(builds.documents("note", 6, 60)):
        (folder / "data" / "notes" / f"note-{number}.md").write_text(one["text"])


def write_tales(folder: Path) -> None:
    """Write the texts of `own-tokenizer.md`."""
    (folder / "data").mkdir()
    tales = builds.json_lines(builds.documents("tale", 30, 80))
    (folder / "data" / "tales.jsonl").write_bytes(tales)


PREPARED: dict[str, Callable[[Path], None]] = {
    "change-a-mixture.md": write_earlier_build,
    "custom-mixture.md": copy_parts,
    "filters.md": write_letters,
    "own-data.md": write_own_files,
    "own-tokenizer.md": write_tales,
    "paper.md": write_letters,
}
"""What a page expects beside the output `sample-out`."""


@pytest.fixture
def folder(sample_output: Path, tmp_path: Path) -> Path:
    """A reader's folder, who has built the sample."""
    shutil.copytree(sample_output, tmp_path / "sample-out")
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_mark_that_is_true(page: str) -> None:
    found = pages.blocks(GUIDE / page)
    assert {block.kind for block in found} <= set(pages.KINDS)
    for block in found:
        assert block.kind in ("run", "start") or block.kind == "output" or block.about
        if block.kind == "covered":
            for test in block.about.split(", "):
                assert_covers(test, block)
        if page not in OTHERS:
            assert block.mark == "run" or block.kind not in ("run", "start")


def assert_covers(test: str, block: pages.Block) -> None:
    """Check that a test is there and, if it runs the README, that these lines are of the README."""
    path, _, name = test.partition("::")
    assert f"\ndef {name}(" in (REPOSITORY / path).read_text(), test
    if path.endswith("test_readme.py"):
        readme = (REPOSITORY / "README.md").read_text()
        run = "".join(re.findall(r"<!-- run -->\n```sh\n(.*?)```", readme, re.DOTALL))
        for line in block.text.splitlines():
            assert line in run.splitlines(), line


def test_the_index_leads_to_every_page() -> None:
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (GUIDE / "README.md").read_text())
    assert sorted([*linked, "README.md"]) == PAGES


def test_what_is_not_run_is_little_and_has_a_reason() -> None:
    found = {
        page: [block.about for block in pages.blocks(GUIDE / page) if block.kind == "not run"]
        for page in PAGES
    }
    assert {page: reasons for page, reasons in found.items() if reasons} == NOT_RUN


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OTHERS])
def test_the_blocks_of_a_page_run_one_after_the_other(page: str, folder: Path) -> None:
    PREPARED.get(page, lambda folder: None)(folder)
    declared = []
    for number, block in enumerate(pages.blocks(GUIDE / page)):
        match block.kind:
            case "run":
                pages.run_block(block, folder)
            case "file":
                declared.append(write(folder / block.about, block.text))
            case "over":
                fragment = f"extends: {block.about}\n{block.text}"
                declared.append(write(folder / f"over-{number}.yaml", fragment))
    for path in declared:
        if path.suffix == ".yaml":
            load(path)


def write(path: Path, text: str) -> Path:
    """Write a file of a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(path: Path) -> None:
    """Read a mixture or a recipe; one without a name is there to be extended."""
    declaration = yaml.safe_load(path.read_text())
    if "objective" in declaration:
        load_recipe(path)
    elif declaration.keys() & {"name", "extends"}:
        load_config(path)
