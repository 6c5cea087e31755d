"""`ettin-data lock`: what it leaves out, refuses, and lists although a server is away."""

import json
from pathlib import Path

import pytest
from support.commands import call
from support.source_server import serve

from pipeline.core.errors import NetworkError

MIXTURE = """\
name: small
chunk: {algorithm: whole-v1, size: 128}
sources:
  here: {from: {path: "in/**/*.jsonl", partition: path}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""
HUB = """\
  hub: {from: {hub: org/a, files: "*.jsonl"}}
  more: {from: {hub: org/b, files: "*.jsonl"}}
  web: {from: {url: "ENDPOINT/w.jsonl"}}
order:"""


@pytest.fixture
def mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mixture of one local file, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text('{"id": "a", "text": "one"}\n')
    path = tmp_path / "small.yaml"
    path.write_text(MIXTURE)
    return path


def test_what_is_skipped_is_said(mixture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mixture.parent / "in/gone.jsonl").symlink_to("nowhere")
    code, _, err = call(capsys, "lock", mixture)
    assert code == 2
    assert "in/gone.jsonl is a link to nowhere" in err
    mixture.write_text(MIXTURE.replace("partition:", "on_missing: skip, partition:"))
    code, out, err = call(capsys, "lock", mixture, "--json")
    assert (code, '"num_files": 1' in out) == (0, True)
    line = "warning: sources.here: left out 1 that are no readable files: in/gone.jsonl is a link"
    assert line in err


def test_a_pattern_that_enters_an_output_is_not_locked(
    mixture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = mixture.parent / "in/out"
    (out / ".ettin").mkdir(parents=True)
    (out / "dropped").mkdir()
    (out / "dropped/a.jsonl").write_text('{"id": "a", "text": "one"}\n')
    code, _, err = call(capsys, "lock", mixture)
    assert code == 2
    assert f"sources.here: in/out/dropped/a.jsonl is part of {out}, the output of a build" in err
    assert not (mixture.parent / "manifests").exists()


def test_some_sources_are_locked_alone(mixture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are not looked at, and keep what was locked of them."""
    lock = mixture.parent / "manifests/small.lock.json"
    (mixture.parent / "b.jsonl").write_text('{"id": "b", "text": "two"}\n')
    more = "  more: {from: {path: b.jsonl}}\n  gone: {from: {path: gone.jsonl}}\norder:"
    mixture.write_text(MIXTURE.replace("order:", more))
    assert call(capsys, "lock", mixture)[0] == 2
    assert call(capsys, "lock", mixture, "--sources", "here")[0] == 0
    assert list(json.loads(lock.read_bytes())["sources"]) == ["here"]
    assert call(capsys, "lock", mixture, "--sources", "more")[0] == 0
    assert list(json.loads(lock.read_bytes())["sources"]) == ["here", "more"]
    code, _, err = call(capsys, "lock", mixture, "--sources", "here,moro")
    assert (code, err.splitlines()[0]) == (
        2, 'error: --sources: got "moro", expected some of gone, here, more; did you mean "more"?'
    )  # fmt: skip
    code, _, err = call(capsys, "lock", "ettin-pretraining-published", "--sources", "pool")
    assert (code, err.splitlines()[0]) == (2, 'error: --sources: got "pool", expected none')
    # A build of the whole refuses what is not locked; partitions of what is are built.
    given = ("build", mixture, "--out", mixture.parent / "out")
    code, _, err = call(capsys, *given)
    assert code == 2
    assert "sources.gone: is not locked" in err
    assert call(capsys, *given, "--partitions", "more/b")[0] == 0


def test_the_lock_of_another_mixture_stays(
    mixture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = mixture.parent / "manifests/small.lock.json"
    assert call(capsys, "lock", mixture)[0] == 0
    before = lock.read_bytes()
    # Of the same name, and nothing else; of another name, and the same file by --lock.
    away = MIXTURE.replace("here:", "away:").replace("in/**/", "in/")
    for other in (away, MIXTURE.replace("name: small", "name: big").replace("in/**/", "in/")):
        mixture.write_text(other)
        code, _, err = call(capsys, "lock", mixture, "--lock", lock.relative_to(mixture.parent))
        error = [line for line in err.splitlines() if line.startswith("error:")]
        assert code == 2
        assert len(error) == 1
        assert "manifests/small.lock.json: is the lock of another mixture, small (here;" in error[0]
        name = "small (away;" if other == away else "big (here;"
        assert f"expected that of {name} fingerprint" in error[0]
        assert lock.read_bytes() == before


@pytest.mark.parametrize("other", ["in/*.jsonl", "in/a.jsonl"])
def test_a_lock_follows_its_mixture(
    mixture: Path, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An origin that changes, a source that gets another name: the lock is still that mixture's."""
    assert call(capsys, "lock", mixture)[0] == 0
    mixture.write_text(MIXTURE.replace("in/**/*.jsonl", other))
    assert call(capsys, "lock", mixture)[0] == 0
    mixture.write_text(MIXTURE.replace("in/**/*.jsonl", other).replace("here:", "there:"))
    assert call(capsys, "lock", mixture)[0] == 0
    # Another mixture of the same origins may share it.
    mixture.write_text(mixture.read_text().replace("name: small", "name: big"))
    assert call(capsys, "lock", mixture, "--lock", "manifests/small.lock.json")[0] == 0


def test_a_check_goes_on_past_servers_that_are_away(
    mixture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(capsys, "lock", mixture)[0] == 0
    with serve({"org/a": mixture.parent / "in"}) as server:
        # It does not speak TLS, which no retry changes.
        away = server.endpoint.replace("http://", "https://")
        monkeypatch.setenv("HF_ENDPOINT", away)
        mixture.write_text(MIXTURE.replace("order:", HUB.replace("ENDPOINT", away)))
        (mixture.parent / "in/a.jsonl").write_text('{"id": "a", "text": "two!"}\n')
        code, out, err = call(capsys, "lock", mixture, "--check", "--json")
    assert code == 75
    checked = json.loads(out)
    assert [line.partition(":")[0] for line in checked["changes"]] == ["here"]
    assert [line.partition(":")[0] for line in checked["unreachable"]] == ["hub", "more", "web"]
    assert checked["unreachable"][1].startswith("more: is not asked, since hf://datasets/org/a")
    assert all(line in err for line in checked["unreachable"])


def test_a_tokenizer_that_is_away_keeps_no_file_here_from_being_checked(
    mixture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(capsys, "lock", mixture)[0] == 0
    (mixture.parent / "in/a.jsonl").write_text('{"id": "a", "text": "two!"}\n')
    ids = "  ahead: {from: {path: in/*.mds, decode: {tokenizer: org/name}}}\n"
    mixture.write_text(MIXTURE.replace("  here:", f"{ids}  here:"))
    (mixture.parent / "in/s.mds").write_bytes(b"")

    def refuse(name: str) -> str:
        raise NetworkError(f"{name}: cannot be looked up")

    monkeypatch.setattr("pipeline.sources.lock.create.latest_commit", refuse)
    code, out, _ = call(capsys, "lock", mixture, "--check", "--json")
    checked = json.loads(out)
    assert code == 75
    assert [line.partition(":")[0] for line in checked["unreachable"]] == ["ahead"]
    assert "here" in [line.partition(":")[0] for line in checked["changes"]]
