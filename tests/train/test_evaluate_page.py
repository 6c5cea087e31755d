"""The examples of the guide to `evaluate`, with tiny models and few sentences."""

from pathlib import Path

import pytest
from support import builds, pages
from support.paths import REPOSITORY

BLOCKS = pages.blocks(REPOSITORY / "docs" / "guide" / "evaluate.md")


@pytest.mark.usefixtures("few_rows")
def test_the_examples_of_the_page_run(
    data: Path, runs: Path, few_sentences: list[str | Path], tmp_path: Path
) -> None:
    for name in ("sample-out", "out"):
        (tmp_path / name).symlink_to(data)
    (tmp_path / "runs").symlink_to(runs)
    for name, kind in (("pre", "encoder"), ("ext", "encoder"), ("decay", "decoder")):
        (tmp_path / name).symlink_to(runs / kind / "step2")
    commands = pages.plain_commands(BLOCKS[0].text)
    assert commands is not None
    for words in commands:
        if not any(word.startswith("hf://") for word in words):
            builds.run_well(*words[1:], "--device", "cpu", *few_sentences, cwd=tmp_path)
    assert (tmp_path / "curves.svg").exists()
    assert (tmp_path / "curves").is_dir()
    (tmp_path / "curves.svg").unlink()
    [program] = [block.text for block in BLOCKS if block.language == "python"]
    assert "num_pairs" in pages.run_python(program, tmp_path)
    assert (tmp_path / "curves.svg").exists()
