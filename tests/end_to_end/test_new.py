"""`ettin-data new`: from own files of any kind to a first output, nothing edited between."""

import json
from pathlib import Path

import pytest
from support import own_files
from support.commands import call
from support.source_server import serve
from support.store_server import serve_store

from pipeline.config import load_mixture
from pipeline.dataset import read_manifest
from pipeline.runner import make_plan

NAMES = {kind: kind.replace(" ", "-").replace(".", "-").lower() for kind in own_files.KINDS}
"""The folder of each kind, and so its source."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def built(capsys: pytest.CaptureFixture[str], name: str, *arguments: str) -> dict[str, int]:
    """Write a mixture and build it unchanged; return the documents of each source."""
    code, out, err = call(capsys, "new", name, *arguments)
    assert code == 0, err
    commands = [line.split() for line in out.splitlines() if line.startswith("ettin-data ")]
    assert [words[1] for words in commands][-2:] == ["plan", "build"]
    for words in commands:
        code, _, err = call(capsys, *words[1:])
        assert (code, "Traceback" in err) == (0, False), err
    manifest = read_manifest(Path(commands[-1][-1]) / "manifest.json")
    assert manifest.order.num_steps > 0
    dropped = {one: source.documents.dropped for one, source in manifest.sources.items()}
    assert not any(dropped.values())
    return {one: source.documents.kept for one, source in manifest.sources.items()}


def test_files_of_every_kind_build_at_the_first_try(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One build, since a build takes as long as all that is asked of its sources.
    for kind, name in NAMES.items():
        own_files.write(kind, here / name)
    expected = dict.fromkeys(NAMES.values(), own_files.NUM_DOCUMENTS) | {"markdown": 4}
    assert built(capsys, "own", *NAMES.values()) == expected


def test_a_folder_of_several_kinds_is_a_source_of_each(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("jsonl", "csv", "txt"):
        own_files.write(kind, here / "mine" / kind)
    (here / "mine" / "README.md").write_text("What this is.")
    (here / "mine" / "scan.pdf").write_bytes(b"%PDF-1.7")
    _, _, err = call(capsys, "new", "mine", "mine")
    assert "left out 2 files that are no data: mine/README.md, mine/scan.pdf" in err
    found = {one.name: one.origin.path for one in load_mixture(Path("mine.yaml")).sources}
    assert found == {
        "sheet": ("mine/**/*.csv",),
        "mine-jsonl": ("mine/**/*.jsonl",),
        "mine-txt": ("mine/**/*.txt",),
    }
    make_plan(load_mixture(Path("mine.yaml")), None, Path("raw"))


def test_a_set_on_the_hub_and_one_in_a_bucket_build_at_the_first_try(
    here: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import s3fs

    away = tmp_path_factory.mktemp("away")
    own_files.write("parquet", away / "hub" / "data")
    (away / "hub" / "README.md").write_text("A card.")
    own_files.write("json.gz", away / "bucket")
    with serve({"org/letters": away / "hub"}) as hub, serve_store(away, "texts"):
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        s3fs.S3FileSystem().put(str(away / "bucket"), "texts/dolma", recursive=True)
        found = built(capsys, "far", "hf://datasets/org/letters", "s3://texts/dolma")
    assert found == {"letters": 12, "dolma": 12}


def test_what_was_found_is_printed_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_files.write("parquet", here / "own")
    code, out, _ = call(capsys, "new", "letters", "own", "--json", "--out", "m.yaml")
    assert code == 0
    found = json.loads(out)
    source = found["sources"]["own"]
    assert found["next"] == ["ettin-data plan m.yaml", "ettin-data build m.yaml --out letters"]
    assert (source["text"], source["id"], source["num_documents_read"]) == ("text", "meta.id", 12)
    assert source["is_counted"]
    assert load_mixture(here / "m.yaml").sources[0].origin.id == "meta.id"


def test_a_file_that_is_there_is_kept_unless_forced(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_files.write("jsonl", here / "own")
    Path("own.yaml").write_text("mine\n")
    code, _, err = call(capsys, "new", "own", "own")
    assert code == 2
    assert err == (
        "error: own.yaml: got a file that is there, expected none\n"
        "hint: --force replaces it; --out FILE writes another\n"
    )
    assert Path("own.yaml").read_text() == "mine\n"
    assert call(capsys, "new", "own", "own", "--force")[0] == 0
    assert load_mixture(here / "own.yaml").name == "own"


def test_budgets_that_are_proposed_can_be_met(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.runner.setup import propose_mixture as proposing

    monkeypatch.setattr(proposing, "_LITTLE_TOKENS", 100)
    own_files.write("jsonl", here / "a")
    own_files.write("csv", here / "b")
    (here / "b" / "more.csv").write_bytes(own_files.table(own_files.records("body", "key")[:5]))
    code, out, _ = call(capsys, "new", "both", "a", "b/more.csv", "--json")
    assert code == 0
    shares = [one["share"] for one in json.loads(out)["sources"].values()]
    assert None not in shares
    assert round(1000 * sum(shares)) == 1000
    built(capsys, "again", "a", "b/more.csv")


def test_a_mixture_is_written_only_to_a_folder_that_is_there_and_no_build(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_files.write("jsonl", here / "own")
    (here / "out" / ".ettin").mkdir(parents=True)
    (here / "out" / "train").mkdir()
    for out, message in (
        ("sub/m.yaml", "sub/m.yaml: got no folder sub, expected one to write to"),
        ("out/train/m.yaml", f"out/train/m.yaml: got a file inside {here / 'out'}, the output of"),
    ):
        code, _, err = call(capsys, "new", "own", "own", "--out", out)
        assert (code, err.splitlines()[0][: len(message) + 7]) == (2, f"error: {message}")
        assert not Path(out).exists()
