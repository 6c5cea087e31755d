"""Probe: small requests to a stand-in Hub settle how a made-up suite was made, right or wrong."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import published_layouts as layouts
from support.commands import call
from support.published_suite import write_parts
from support.source_server import Server, serve

from pipeline.audit.attest import Conclusion, Outcome, conclude, probe
from pipeline.audit.attest.candidates import SIZES, candidates
from pipeline.audit.attest.probe_checks import read_rows
from pipeline.audit.attest.probe_hub import CHECKS
from pipeline.core.errors import ConfigError
from pipeline.stages.tokenizer import read_json

LIMIT = 2_000_000
AGAIN = "slices of 1,024 ids, decoded with clean-up of spaces and tokenized again"
RETOKENIZED = {"chunk.algorithm": "ettin-retokenize-v1", "chunk.size": 1024}
COMMON = {"shards.dtype": "uint16", "shards.header_compression": "zstd"}
NO_PREFIX = {"tokenizer.add_prefix_space": False}
LONGEST = {"sample.algorithm": "ettin-longest-first-v1"}
PLAIN = {"chunk.algorithm": "ettin-slice-v2", "chunk.size": 8000}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> layouts.Suite:
    return layouts.write_suite(tmp_path_factory.mktemp("right"), read_json("modernbert"))


@pytest.fixture
def server(right: layouts.Suite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serve(right.repos, gated=[layouts.ORDER]) as running:
        ask(running, monkeypatch)
        yield running


def ask(running: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("HF_HOME", "/nowhere")


def made(outcomes: list[Outcome]) -> dict[str, Conclusion]:
    return {one.phase: one for one in conclude([s for o in outcomes for s in o.signs])}


def test_every_check_is_settled_within_its_bytes_and_the_bundled_mixtures_agree(
    server: Server,
) -> None:
    outcomes = list(probe(LIMIT))
    assert [one.state for one in outcomes] == ["settled"] * len(CHECKS) == ["settled"] * 5
    assert all(0 < one.num_bytes <= one.check.most_bytes for one in outcomes)
    most = [one.most_bytes for one in CHECKS]
    assert (most[0], most[-1]) == (min(most), max(most))
    assert sum(most) < 1_000_000 < LIMIT
    counters = server.counters()
    asked = [line for line in counters["log"] if " /lfs/" not in line]
    assert len(asked) == sum(len(one.requests) for one in CHECKS)
    lists = sum(outcome.num_bytes for outcome in outcomes if outcome.check.requests[0].is_list)
    assert counters["bytes"] == sum(one.num_bytes for one in outcomes) - lists
    found = made(outcomes)
    assert {one.verdict for one in found.values()} == {"agrees"}, found
    assert found["pre-training"].ways == (AGAIN,)
    assert found["pre-training"].settings == RETOKENIZED | COMMON | NO_PREFIX
    assert found["pre-training"].layout == "archives"
    assert found["extension"].settings == PLAIN | COMMON | LONGEST


PRE, EXT = "pre-training", "extension"
UINT32 = {"shards.dtype": "uint32"}
UNSAID = {"shards.header_compression": None}
UNCLEAN = "slices of 1,024 ids, decoded without clean-up of spaces and tokenized again"


def made_by(algorithm: str, size: int) -> dict[str, object]:
    return {"chunk.algorithm": f"ettin-{algorithm}", "chunk.size": size}


WRONG: dict[str, tuple[dict[str, Any], str, dict[str, object] | None, str]] = {
    "slices of 1,024": (
        {PRE: "slice"}, PRE, made_by("slice-v2", 1024), "slices of 1,024 ids"
    ),
    "spaces kept": ({"clean": False}, PRE, None, UNCLEAN),
    "a space before texts": ({"prefix": True}, PRE, {"tokenizer.add_prefix_space": True}, AGAIN),
    "wide ids": ({"dtype": "uint32"}, PRE, UINT32, AGAIN),
    "a header that says nothing": ({"compression": None}, PRE, UNSAID, AGAIN),
    "such a header of the extension": ({"compression": None}, EXT, UNSAID, "slices of 8,000 ids"),
    "other ids of documents": ({"id_form": "{:040x}"}, PRE, None, AGAIN),
    "slices of 7,998": (
        {EXT: "slice", "fewer": 2}, EXT, made_by("slice-v1", 8000), "slices of 7,998 ids"
    ),
    "file order": ({"longest_first": False}, EXT, None, "slices of 8,000 ids"),
}  # fmt: skip
HOW: dict[str, tuple[dict[str, Any], str]] = {
    "": ({}, "slice"),
    ", decoded with clean-up of spaces and tokenized again": ({}, "retokenize"),
    ", decoded without clean-up of spaces and tokenized again": ({"clean": False}, "retokenize"),
    ", decoded with their special tokens and tokenized again": (
        {"keep_specials": True}, "retokenize"
    ),
    " with CLS and SEP put around them where they lack them": ({}, "framed"),
    " of documents without CLS and SEP, which are put around each": ({}, "wrapped"),
    ", some of them encoded again": ({}, "reencode"),
}  # fmt: skip


def every_candidate() -> Iterator[tuple[str, dict[str, Any], dict[str, object] | None, str]]:
    """Yield each candidate of each phase, with a way of making a suite so."""
    for phase, size in SIZES.items():
        for one in candidates(size):
            cut, rewrite = f"{size:,}", one.says.removeprefix(f"slices of {size:,} ids")
            if rewrite == one.says:
                cut, rewrite = f"{size - 2:,}", one.says.removeprefix(f"slices of {size - 2:,} ids")
            way, how = HOW[rewrite]
            way = {**way, phase: how, "fewer": 0 if cut == f"{size:,}" else 2}
            yield phase, way, dict(one.settings) or None, one.says


CANDIDATES = {f"{says}, {phase}": (way, phase, settings, says)
              for phase, way, settings, says in every_candidate()}  # fmt: skip


def test_every_candidate_has_a_suite() -> None:
    assert len(CANDIDATES) == len({says for *_, says in CANDIDATES.values()}) == 26


@pytest.mark.parametrize("name", WRONG)
def test_a_suite_made_in_another_way_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_named(*WRONG[name], tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", CANDIDATES)
def test_each_candidate_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_named(*CANDIDATES[name], tmp_path, monkeypatch)


def check_named(
    way: dict[str, Any], phase: str, settings: dict[str, object] | None, says: str,
    folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    suite = layouts.write_suite(
        folder, read_json("modernbert"), **{"".join(k.split("-")): v for k, v in way.items()}
    )
    with serve(suite.repos) as running:
        ask(running, monkeypatch)
        outcomes = list(probe(LIMIT))
    assert {one.state for one in outcomes} == {"settled"}
    found = made(outcomes)[phase]
    # Four rows of 8,000 ids of prose do not tell one rewrite from another.
    is_told = phase == PRE or says.endswith(" ids")
    assert found.ways == (says,) if is_told else says in found.ways
    cut = says.split(" ids")[0]
    assert all(
        one.startswith(cut) and one.endswith(" ids") == is_told
        for one in found.ways
        if phase == EXT
    )
    if settings is None or not is_told:
        assert found.verdict == "contradicts"
        assert found.notes or not is_told
        return
    assert found.settings.items() >= settings.items()
    is_bundled = says in (AGAIN, "slices of 8,000 ids") and "chunk.size" in settings
    assert found.verdict == ("agrees" if is_bundled else "contradicts")
    assert found.differs.keys() >= (set() if is_bundled else settings.keys() - {"chunk.size"})
    assert is_bundled or any(line.startswith("  differs: ") for line in found.lines())


def test_one_longer_row_of_many_tells_nothing_of_the_rest(tmp_path: Path) -> None:
    for num_longer, told in ((0, [False]), (1, []), (30, [True])):
        rows = [(str(row // 3), [7] * (1025 if row < num_longer else 1024)) for row in range(200)]
        write_parts(tmp_path / str(num_longer), [rows])
        data = (tmp_path / str(num_longer) / "shard.00000.mds").read_bytes()
        signs = read_rows([("shard", data, ())])
        assert [one.value for one in signs if one.about == "pre-training.has_longer"] == told


def test_counts_that_are_not_of_the_stored_ids_contradict_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = layouts.write_suite(tmp_path, read_json("modernbert"), counts="without specials")
    with serve(suite.repos) as running:
        ask(running, monkeypatch)
        found = made(list(probe(LIMIT)))["pre-training"]
    assert found.ways == ()
    assert "has_longer: files say false and true, which contradict each other" in found.notes
    assert any(note.startswith("ids of documents have 5") for note in found.notes)
    assert "pre-training: no known way fits all that was found" in found.lines()


@pytest.mark.parametrize(
    ("layout", "says"), [("mds", "shards, which"), ("both", "and archives"), ("none", "neither")]
)
def test_what_lies_at_the_head_is_told(
    layout: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = layouts.write_suite(tmp_path, read_json("modernbert"), layout=layout)
    with serve(suite.repos) as running:
        ask(running, monkeypatch)
        outcomes = list(probe(LIMIT, f"hf://datasets/{layouts.PRETRAINING}"))
    assert len(outcomes) == 1
    [told] = [line for line in made(outcomes)["pre-training"].lines() if "at head" in line]
    assert says in told


def test_a_check_that_could_pass_the_limit_is_left(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = sum(one.most_bytes for one in CHECKS[:-1])
    code, out, _ = call(capsys, "attest", "--probe", "--max-bytes", "200kB")
    assert limit < 200_000
    # By counts alone, several ways of making rows of pre-training fit.
    assert code == 1
    assert "pre-training: not settled: 8 ways fit, that of the bundled mixture among them" in out
    assert "everything about pre-training rows: not asked: up to 640,000 bytes of" in out
    assert "4 of 5 checks settled with " in out
    assert not server.log("shard.00022.mds")


def test_the_command_prints_each_check_and_how_to_set_it(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "attest", "--probe")
    assert (code, err) == (0, "")
    assert "the cut of the extension: longest row 8,000 ids (" in out
    assert "everything about pre-training rows: header says compression " in out
    assert re.search(r"; (\d+) rows, most of 1,02[56] ids, .*; 0 of \1 rows differ from", out)
    assert "  set: chunk.algorithm=ettin-slice-v2 chunk.size=8000" in out
    assert "  ids: if counted ids are stored, ids of documents of DCLM have 46." in out
    assert "5 of 5 checks settled with " in out
    code, out, _ = call(capsys, "attest", "--probe", "--json")
    told = json.loads(out)
    assert [one["state"] for one in told["checks"]] == ["settled"] * 5
    assert told["bytes"] == sum(one["bytes"] for one in told["checks"]) < 250_000
    assert [one["verdict"] for one in told["phases"]] == ["agrees", "agrees"]


def test_another_way_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = layouts.write_suite(tmp_path, read_json("modernbert"), pretraining="slice")
    with serve(suite.repos) as running:
        ask(running, monkeypatch)
        code, out, _ = call(capsys, "attest", "--probe")
    assert code == 1
    assert "differs: ettin-pretraining has chunk.algorithm=ettin-retokenize-v1" in out


def test_a_copy_is_asked_under_its_own_name(
    right: layouts.Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"my/copy": right.repos[layouts.EXTENSION]}) as running:
        ask(running, monkeypatch)
        outcomes = list(probe(LIMIT, f"hf://datasets/my/copy@{running.commit}", layouts.EXTENSION))
        log = running.log("/resolve/")
    assert [one.state for one in outcomes] == ["settled"] * 2
    assert all(f"/my/copy/resolve/{running.commit}/" in line for line in log)
    assert made(outcomes)["extension"].verdict == "agrees"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_a_server_refuses_takes_a_line_and_the_rest_is_asked(
    status: int, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse = {"kind": "status", "status": status, "match": f"/{layouts.STAGING}/resolve/"}
    server.set_faults([refuse | {"times": -1}])
    code, out, err = call(capsys, "attest", "--probe")
    assert (code, err) == (2, "")
    refused = [line for line in out.splitlines() if ": not settled: " in line]
    assert len(refused) == 2
    assert all(f"{layouts.STAGING}@main/train/" in line for line in refused)
    assert all(f": got {status}" in line for line in refused)
    assert "3 of 5 checks settled with " in out


def test_without_a_network_it_says_what_it_would_have_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("pipeline.cli.probe._MOST_TRIES", 1)
    code, out, _ = call(capsys, "attest", "--probe")
    assert code == 75
    assert out.count("would have asked for up to ") == 5
    assert out.count("cannot reach http://127.0.0.1:9") == 1
    asked = [line for line in out.splitlines() if line.startswith("  http://127.0.0.1:9/")]
    assert len(asked) == sum(len(one.requests) for one in CHECKS)
    assert "0 of 5 checks settled with 0 bytes" in out


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        (f"{layouts.EXCHANGE}/stats.json", b"{", "got no JSON"),
        (f"{layouts.EXCHANGE}/stats.json", b"{}", "got something else than expected (KeyError"),
        *(
            (f"{layouts.EXCHANGE}/stats.json", b'{"percentiles": {"100th": %s}}' % told, "a count")
            for told in (b"-5", b"0", b"true", b"8000.5", b"1e300")
        ),
        (f"{layouts.BOOKS}/shard.00000.mds", b"\x28\xb5\x2f\xfd" * 99, "got zstd, expected a raw"),
        (f"{layouts.BOOKS}/shard.00000.mds", b"", "got 416"),
    ],
)
def test_files_that_are_something_else_take_a_line(
    path: str, content: bytes, says: str, right: layouts.Suite, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for file in right.repos[layouts.EXTENSION].rglob("*"):
        copy = tmp_path / file.relative_to(right.repos[layouts.EXTENSION])
        if file.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    (tmp_path / path).write_bytes(content)
    with serve({layouts.EXTENSION: tmp_path}) as running:
        ask(running, monkeypatch)
        outcomes = list(probe(LIMIT, f"hf://datasets/{layouts.EXTENSION}"))
    [refused] = [one for one in outcomes if one.state != "settled"]
    assert refused.state == "refused"
    assert says in refused.problem
    assert "\n" not in refused.problem


EXTENSION = ("--probe", f"hf://datasets/{layouts.EXTENSION}")


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ({"kind": "status", "status": 429}, 75, "got 429; gave up after 2 tries"),
        ({"kind": "status", "status": 503}, 75, "got 503; gave up after 2 tries"),
        ({"kind": "page"}, 2, ": got no JSON"),
        ({"kind": "wrong_range"}, 2, ", expected bytes from 0 on"),
        ({"kind": "gzip"}, 2, ": got an answer in the encoding gzip, expected none"),
        ({"kind": "cut", "bytes": 9}, 75, "the connection was cut after 9 bytes; gave up"),
        ({"kind": "status", "status": 302, "headers": {"Location": "/elsewhere"}}, 2, "got 401"),
        ({"kind": "status", "status": 302, "headers": {"Location": "//["}}, 2, "cannot reach"),
    ],
)
def test_an_answer_that_is_none_takes_a_line(
    fault: dict[str, Any], code: int, says: str, server: Server, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("pipeline.cli.probe._MOST_TRIES", 2)
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.set_faults([{"match": "stats.json", "times": -1, **fault}])
    got, out, err = call(capsys, "attest", *EXTENSION)
    assert (got, err) == (code, "")
    [line] = [line for line in out.splitlines() if says in line]
    assert line.startswith("the cut of the extension: ")
    # Who cannot be reached for one is not asked for the rest.
    assert ("1 of 2 checks settled with " in out) == (code == 2)


@pytest.mark.parametrize("kind", ["ignore_range", "unsized"])
def test_a_whole_file_is_read_no_further_than_asked(kind: str, server: Server) -> None:
    server.set_faults([{"kind": kind, "times": -1}])
    outcomes = list(probe(LIMIT))
    assert [one.state for one in outcomes] == ["settled"] * 5
    assert outcomes[3].num_bytes == 64 << 10
    assert all(one.num_bytes <= one.check.most_bytes for one in outcomes)
    assert {one.verdict for one in made(outcomes).values()} == {"agrees"}


def test_a_page_in_place_of_a_shard_or_a_list_takes_a_line(server: Server) -> None:
    server.set_faults([{"kind": "page", "times": -1}])
    outcomes = list(probe(LIMIT))
    assert [one.state for one in outcomes] == [
        "refused", "refused", "settled", "refused", "refused"
    ]  # fmt: skip
    assert "bytes that do not begin a raw MDS shard" in outcomes[4].problem
    assert not any("\n" in one.problem for one in outcomes)


def test_nothing_is_asked_where_nothing_fits_the_limit(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "attest", "--probe", "--max-bytes", "100")
    assert code == 1
    assert out.count(": not asked: up to ") == 5
    assert "0 of 5 checks settled with 0 bytes" in out
    assert not server.log()
    code, out, err = call(capsys, "attest", "--probe", "--max-bytes", "0")
    assert (code, out) == (2, "")
    assert "--max-bytes: got 0, expected an amount from 1" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--probe", "hf://datasets/my/copy", "--as", "my/other"), "--probe: got my/other, expec"),
        (("--probe", "hf://datasets/a/b"), "--probe: got a/b, expected one of jhu-clsp/ettin-ext"),
        (("--probe", f"hf://datasets/{layouts.STAGING}/train"), "without a path in it"),
        (("--probe", "elsewhere"), "elsewhere: got an address of another form"),
        (("--probe", "hf://datasets/a/b", "--max-bytes", "many"), 'got "many"'),
        (("out", "--probe"), "--probe: got out too"),
        ((), "attest: got no place, expected WHERE, --probe or --infer"),
    ],
)
def test_a_wrong_command_is_refused(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "attest", *arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_a_data_set_of_no_check_is_an_error_of_the_command() -> None:
    with pytest.raises(ConfigError, match="name the one that it is a copy of with --as"):
        next(probe(LIMIT, f"hf://datasets/{layouts.ORDER}"))
