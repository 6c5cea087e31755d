"""Mixtures with filters of their own through the commands: what may run, and what is redone."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support import builds, pages
from support.own_filters import write
from support.paths import REPOSITORY
from support.work import counted

from pipeline.config.load import load_mixture
from pipeline.core.errors import InputError
from pipeline.dataset import State
from pipeline.runner import sampled_shards
from pipeline.runner.plan import make_plan
from pipeline.runner.tasks.read_documents import DocumentReader, Input, stop_at_bad
from pipeline.stages.filters import identify

MIXTURE = """\
name: own
chunk: {size: 64}
sources:
  a:
    from: {path: in/a.jsonl}
    filters: [FILTER]
  b: {from: {path: in/b.jsonl}}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64, window_tokens: 1k}
MORE"""
KEEP = """\
from pathlib import Path
Path(__file__).with_name("ran").touch()


def keep(text, metadata, least=0.5):
    return metadata["score"] >= least or "low_score"
"""
PYTHON = "python: './own.py:keep'"
NUM_DOCUMENTS = 20


def written(folder: Path, filter_: str = PYTHON, more: str = "", source: str = KEEP) -> Path:
    """Write a mixture, its inputs and its code."""
    (folder / "in").mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        documents = builds.documents(name, NUM_DOCUMENTS, 60)
        records = [{**one, "score": row / NUM_DOCUMENTS} for row, one in enumerate(documents)]
        (folder / "in" / f"{name}.jsonl").write_bytes(builds.json_lines(records))
    write(folder, source)
    return builds.write_mixture(folder, MIXTURE.replace("FILTER", filter_).replace("MORE", more))


def built(mixture: Path, out: Path, *, expects: int = 0, options: Sequence[str] = ()) -> str:
    """Build with code allowed; return what the command says on stderr."""
    done = builds.run("build", mixture, "--out", out, "--allow-code", *options)
    assert done.returncode == expects, done.stderr
    return done.stderr


def dropped(out: Path) -> Mapping[str, int]:
    manifest = json.loads((out / "manifest.json").read_text())
    counts: Mapping[str, int] = manifest["sources"]["a"]["documents"]["dropped"]
    return counts


def test_the_three_examples_of_the_guide_run_as_it_says(tmp_path: Path) -> None:
    printed, num_compared = "", 0
    for block in pages.blocks(REPOSITORY / "docs" / "guide" / "own-filters.md"):
        if block.kind == "file":
            write(tmp_path, block.text, block.about)
        elif block.kind == "run":
            printed = pages.run_block(block, tmp_path)
        else:
            assert printed == block.text
            num_compared += 1
    assert num_compared == 3


@pytest.mark.parametrize(
    "command",
    [
        "build MIXTURE --out OUT",
        "build MIXTURE --out OUT --update",
        "build MIXTURE --out OUT --cache OUT-cache",
        "build MIXTURE --out OUT --partitions a/a",
        "build MIXTURE --out OUT --stage chunk",
        "build MIXTURE --out OUT --stage chunk --part 1/2",
        "build MIXTURE --out OUT --stage scan --set dedup={}",
        "build MIXTURE --out OUT --workers 2",
        "build MIXTURE --out OUT --scheduler tcp://127.0.0.1:1",
        "plan MIXTURE",
        "plan MIXTURE --against OUT",
    ],
)
def test_no_command_runs_code_that_is_not_allowed(command: str, tmp_path: Path) -> None:
    mixture = written(tmp_path)
    words = {"MIXTURE": str(mixture), "OUT": str(tmp_path / "out")}
    done = builds.run(*(re.sub("MIXTURE|OUT", lambda found: words[found[0]], word)
                        for word in command.split()))  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: sources.a.filters: python ./own.py:keep: got code that the mixture names, which"
        " runs only with --allow-code\nhint: read it, then give --allow-code if you trust it (in"
        " Python allows_code=True)\nguide: docs/guide/own-filters.md#filters-of-your-own\n"
    )
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_commands_that_only_read_need_neither_the_code_nor_a_permission(tmp_path: Path) -> None:
    mixture, out = written(tmp_path), tmp_path / "out"
    built(mixture, out)
    assert (tmp_path / "ran").exists()
    (tmp_path / "own.py").unlink()
    for command in (
        ("verify", out),
        ("trace", out, "--step", "1"),
        ("trace", out, "--document", "a-15"),
        ("diff", mixture, out),
        ("feed", out, "--steps", "1"),
        ("digest", out, "--out", tmp_path / "d.json"),
        ("report", out, "--out", tmp_path / "report.html"),
        ("lock", mixture, "--lock", tmp_path / "lock.json"),
    ):
        builds.run_well(*command)


def test_code_is_pinned_in_the_manifest_and_its_reasons_are_counted(tmp_path: Path) -> None:
    mixture, out = written(tmp_path), tmp_path / "out"
    built(mixture, out)
    assert dropped(out) == {"python:keep/low_score": NUM_DOCUMENTS // 2}
    manifest = json.loads((out / "manifest.json").read_text())
    assert (
        manifest["sources"]["a"]["filters"]["0/python/./own.py"]
        == (builds.digests(tmp_path)["own.py"])
    )
    assert builds.run_well("plan", mixture, "--allow-code", "--against", out).endswith(
        "chunk 0 of 2 partitions, order nothing\n"
    )


def test_other_code_redoes_what_depends_on_it_and_the_same_code_nothing(tmp_path: Path) -> None:
    mixture, out = written(tmp_path), tmp_path / "out"
    assert counted(mixture, out, allows_code=True)["chunk"] == 2
    assert not any(counted(mixture, out, allows_code=True).values())
    before = dropped(out)
    write(tmp_path, KEEP.replace("0.5", "0.8"))
    made = counted(mixture, out, allows_code=True)
    assert made["chunk"] == 1
    assert made["order"] > 0
    assert dropped(out) == {"python:keep/low_score": 16} != before
    counted(mixture, tmp_path / "fresh", allows_code=True)
    assert builds.digests(out) == builds.digests(tmp_path / "fresh")


def test_the_cache_of_chunks_knows_code_by_what_it_says(tmp_path: Path) -> None:
    mixture, cache = written(tmp_path), tmp_path / "cache"
    for number, (least, expected) in enumerate([("0.5", 2), ("0.8", 1), ("0.5", 0)]):
        write(tmp_path, KEEP.replace("0.5", least))
        out = tmp_path / f"out-{number}"
        assert counted(mixture, out, cache=cache, allows_code=True)["chunk"] == expected
    assert builds.digests(tmp_path / "out-0") == builds.digests(tmp_path / "out-2")


RAISES = "def keep(text, metadata):\n    return metadata['score'] < 0.9 or metadata['no']\n"


def test_a_function_that_raises_stops_the_build_in_one_line(tmp_path: Path) -> None:
    mixture = written(tmp_path, source=RAISES)
    first, hint, _ = built(mixture, tmp_path / "out", expects=2).splitlines()
    assert first == (
        'error: in/a.jsonl: document 19: id "a-18" cannot be judged by ./own.py:keep: KeyError:'
        " 'no' (own.py, line 2)"
    )
    assert hint.startswith("hint: fix the document, or count such documents instead with `on_err")


@pytest.mark.parametrize("more", ["on_error: skip\n", "on_error: skip\ndedup: {}\n"])
def test_a_function_that_raises_is_counted_where_bad_documents_are(
    more: str, tmp_path: Path
) -> None:
    mixture = written(tmp_path, source=RAISES, more=more)
    built(mixture, tmp_path / "out")
    assert dropped(tmp_path / "out")["python:keep/failed"] == 2


EDIT = """\
def keep(text, metadata):
    if metadata["score"] < 0.2:
        raise ValueError("never asked, since an earlier filter drops these")
    return metadata["score"] < 0.9 and "the same text for all"
"""


def test_a_text_that_is_changed_is_what_dedup_compares_and_what_is_chunked(tmp_path: Path) -> None:
    write(tmp_path, "def high(text, metadata):\n    return metadata['score'] >= 0.2\n", "high.py")
    filters = "python: 'high.py:high', python: {function: 'own.py:keep', returns: text}"
    mixture = written(tmp_path, filters, "dedup: {}\n", EDIT)
    built(mixture, tmp_path / "out")
    assert dropped(tmp_path / "out") == {
        "duplicate_text": 13,
        "python:high/dropped": 4,
        "python:keep/dropped": 2,
    }
    traced = builds.run_well("trace", tmp_path / "out", "--document", "a-4", "--text")
    assert "the same text for all" in traced


def test_workers_run_code_with_their_own_prints_on_stderr(tmp_path: Path) -> None:
    source = f"{KEEP}    \nprint('printed')\n"
    mixture = written(tmp_path, source=source)
    done = builds.run_alone(
        "build", mixture, "--out", tmp_path / "out", "--allow-code", "--workers", "1", "--json"
    )
    assert json.loads(builds.well(done))
    assert "printed" in done.stderr
    assert dropped(tmp_path / "out") == {"python:keep/low_score": 10}


def read(mixture: Path, **other: object) -> None:
    """Read the first source as a worker does that sees something else than the build's start."""
    loaded = load_mixture(mixture)
    source = loaded.sources[0]
    files = make_plan(loaded, None, mixture.parent).sources[0].files
    assert files is not None
    input_ = Input(
        source="a",
        file=files[0],
        origin=source.origin,
        filters=source.filters,
        filters_made_of=identify(source.filters, mixture.parent),
        allows_code=True,
        folder=mixture.parent,
    )
    reader = DocumentReader(replace(input_, **other), stop_at_bad)  # type: ignore[arg-type]
    for _ in reader.blocks(State(out=mixture.parent / "out")):
        pass


def test_workers_must_see_the_files_of_code_as_those_of_text(tmp_path: Path) -> None:
    filters = f"{PYTHON}, length, python: my.module:keep, datatrove: FTFYFormatter"
    plan = make_plan(load_mixture(written(tmp_path, filters)), None, tmp_path)
    assert sampled_shards._code_files(plan) == [tmp_path / "own.py"]


def test_a_worker_with_other_code_does_nothing(tmp_path: Path) -> None:
    mixture = written(tmp_path)
    read(mixture)
    with pytest.raises(InputError) as caught:
        read(mixture, filters_made_of={"0/python/./own.py": "0" * 64})
    digest = builds.digests(tmp_path)["own.py"]
    assert caught.value.message == (
        f"sources.a.filters: this worker finds 0/python/./own.py as {digest}, the build was"
        f" started with {'0' * 64}"
    )
    assert "let all workers see the same files" in (caught.value.hint or "")


def test_reasons_without_end_are_refused(tmp_path: Path) -> None:
    mixture = written(tmp_path, source="def keep(text, metadata):\n    return metadata['id']\n")
    read(mixture)
    lines = [{"id": f"id-{number}", "text": "x"} for number in range(1001)]
    (tmp_path / "in" / "a.jsonl").write_bytes(builds.json_lines(lines))
    with pytest.raises(InputError, match="got more than 1,000 different reasons from"):
        read(mixture)


def test_a_verdict_that_the_scan_did_not_give_is_an_error(tmp_path: Path) -> None:
    source = """
        calls = []

        def keep(text, metadata):
            calls.append(1)
            return len(calls) < 50 and text
        """
    filters = "python: {function: 'own.py:keep', returns: text}"
    mixture = written(tmp_path, filters, "dedup: {}\n", source)
    error = built(mixture, tmp_path / "out", expects=2)
    assert re.search(r"in/a.jsonl: document \d+: python:keep/dropped drops it, and kept it", error)
