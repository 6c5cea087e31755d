"""The examples of the guide to `evaluate`, with tiny models and few sentences."""

import json
import subprocess
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
    commands, rest = pages.plain_commands(BLOCKS[0].text)
    assert not rest
    for words in commands:
        if not any(word.startswith("hf://") for word in words):
            builds.run_well(*words[1:], "--device", "cpu", *few_sentences, cwd=tmp_path)
    assert (tmp_path / "curves.svg").exists()
    assert (tmp_path / "curves").is_dir()
    (tmp_path / "curves.svg").unlink()
    [program] = [block.text for block in BLOCKS if block.language == "python"]
    assert "num_pairs" in pages.run_python(program, tmp_path)
    assert (tmp_path / "curves.svg").exists()


@pytest.mark.usefixtures("few_rows")
def test_the_sentences_of_blimp_are_cloned_and_joined(runs: Path, tmp_path: Path) -> None:
    [block] = [block for block in BLOCKS if "git clone" in block.text]
    *joins, evaluate = block.text.splitlines()
    address = joins[0].split()[-1]
    origin = tmp_path / "origin"
    for name in ("island", "binding"):
        pair = {"UID": name, "sentence_good": f"The {name} is good.", "sentence_bad": "The is."}
        (origin / "data").mkdir(parents=True, exist_ok=True)
        (origin / "data" / f"{name}.jsonl").write_text(json.dumps(pair) + "\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "two pairs"]):
        person = ("-c", "user.name=Lena", "-c", "user.email=lena@example.org")
        subprocess.run(["git", *person, *command], cwd=origin, check=True)
    # Git asks the folder in place of the address.
    instead = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": address,
               "GIT_CONFIG_KEY_0": f"url.file://{origin}.insteadOf"}  # fmt: skip
    pages.run("\n".join(joins), tmp_path, **instead)
    model = str(runs / "decoder" / "step2")
    words = [model if word.startswith("hf://") else word for word in evaluate.split()]
    said = builds.run_well(*words[1:], "--device", "cpu", "--json", cwd=tmp_path)
    [answer] = json.loads(said)
    assert answer["minimal-pairs"]["num_pairs"] == 2
    assert sorted(answer["minimal-pairs"]["by_phenomenon"]) == ["binding", "island"]
