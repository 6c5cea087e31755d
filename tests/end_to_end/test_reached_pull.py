"""Remote files of a source in sequence: only those that the budget reaches are ever asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import builds
from support.here import Here, run_here
from support.source_server import Server, serve

from pipeline.config import load_mixture
from pipeline.core.errors import InputError
from pipeline.runner import run, sampled_shards
from pipeline.runner.build_part import build_part
from pipeline.runner.parts import Part
from pipeline.sources import Lock, make_lock, read_lock, write_lock
from pipeline.stages.sampling import in_sequence

MIXTURE = """\
name: reached
chunk: {size: 128}
sources:
  all: {from: {url: "ENDPOINT/files/web/all.jsonl"}}
  web:
    from: {url: "ENDPOINT/files/web/web-{00..11}.jsonl"}
    tokens: 4000
    sample: {algorithm: ettin-partitions-v2, seed: 42}
order: {seed: 21, global_batch_size: 4, max_seq_len: 128}
"""
NAMES = [f"web-{number:02d}" for number in range(12)]
SEQUENCE = [name.replace("_", "-") for name in in_sequence(
    [name.replace("-", "_") for name in NAMES], 42
)]  # fmt: skip


class Place:
    """A mixture of files on a server, locked."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.mixture = builds.write_mixture(folder, MIXTURE.replace("ENDPOINT", server.endpoint))
        self.lock_path = folder / "manifests" / "reached.lock.json"
        write_lock(make_lock(load_mixture(self.mixture), quiet), self.lock_path)
        server.reset()

    @property
    def lock(self) -> Lock:
        return read_lock(self.lock_path)

    def build(self, out: str, *settings: str, raw: str = "raw", keeps_raw: bool = True) -> Path:
        run.build(
            load_mixture(self.mixture, settings), self.folder / out, lock=self.lock,
            raw=self.folder / raw, keeps_raw=keeps_raw, workers=1, scheduler=None, report=quiet,
        )  # fmt: skip
        return self.folder / out

    def part(self, out: str, part: Part, *, keeps_raw: bool) -> None:
        build_part(
            load_mixture(self.mixture), "chunk", part, self.folder / out, lock=self.lock,
            raw=self.folder / "raw", keeps_raw=keeps_raw, workers=1, scheduler=None, report=quiet,
        )  # fmt: skip

    def asked(self) -> list[str]:
        """Return the names of the files that were asked for since the last time."""
        log = self.server.log("GET ")
        self.server.reset()
        return sorted(line.split("/")[-1].split(".jsonl")[0] for line in log)

    def raw(self, raw: str = "raw") -> list[str]:
        return sorted(path.stem for path in (self.folder / raw).rglob("*.jsonl"))


def quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("web")
    for number, name in enumerate([*NAMES, "all"]):
        documents = builds.documents(name, 8 + number % 5, 200)
        (folder / f"{name}.jsonl").write_bytes(builds.json_lines(documents))
    with serve(files={"web": folder}) as server:
        yield server


@pytest.fixture
def place(served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    run_here(monkeypatch, sampled_shards, Here())
    yield Place(served, tmp_path)
    served.set_faults([])


@pytest.mark.parametrize("keeps_raw", [True, False])
def test_a_build_asks_for_the_files_that_it_reaches(place: Place, keeps_raw: bool) -> None:
    whole = place.build("v1", "sources.web.sample.algorithm=ettin-partitions-v1", raw="other")
    assert place.asked() == ["all", *NAMES]
    out = place.build("v2", keeps_raw=keeps_raw)
    asked = place.asked()
    num_reached = len(asked) - 1
    assert 1 < num_reached < len(NAMES)
    assert asked == ["all", *sorted(SEQUENCE[:num_reached])]
    assert place.raw() == (asked if keeps_raw else [])
    assert builds.digests(out / "train") == builds.digests(whole / "train")
    # Neither are they asked for again, nor those that were not.
    before = builds.digests(out)
    place.build("v2", keeps_raw=keeps_raw)
    assert place.asked() == []
    assert builds.digests(out) == before


def test_a_build_goes_on_where_a_server_was_gone(place: Place) -> None:
    expected = place.build("expected", raw="other")
    reached = place.raw("other")
    place.asked()
    place.server.set_faults([{"kind": "status", "status": 404, "match": SEQUENCE[2], "times": -1}])
    with pytest.raises(InputError, match=SEQUENCE[2]):
        place.build("out")
    assert place.raw() == ["all", *sorted(SEQUENCE[:2])]
    place.server.set_faults([])
    place.asked()
    out = place.build("out")
    assert place.asked() == sorted({*reached} - {"all", *SEQUENCE[:2]})
    assert builds.digests(out) == builds.digests(expected)


@pytest.mark.parametrize("keeps_raw", [True, False])
def test_parts_ask_for_their_own_files_and_the_build_for_what_is_left(
    place: Place, keeps_raw: bool
) -> None:
    expected = place.build("expected", raw="other")
    reached = place.raw("other")
    place.asked()
    asked: list[str] = []
    for index in (2, 1, 3):
        place.part("out", Part(index, 3), keeps_raw=keeps_raw)
        own = place.asked()
        assert own
        assert not {*own} & {*asked}
        asked += own
    assert {"all", SEQUENCE[0]} < {*asked} < {"all", *NAMES}
    out = place.build("out", keeps_raw=keeps_raw)
    assert place.asked() == sorted({*reached} - {*asked})
    assert builds.digests(out) == builds.digests(expected)


def test_pull_brings_the_files_that_sizes_let_expect_and_build_the_others(place: Place) -> None:
    expected = place.build("expected", raw="other")
    reached = place.raw("other")
    place.asked()
    files = {file.path.split("/")[-1]: file for file in place.lock.sources["web"].files}
    builds.run_well("pull", place.mixture, "--dest", place.folder / "raw", cwd=place.folder)
    pulled = place.asked()
    # By four bytes a token.
    sizes = [files[f"{name}.jsonl"].num_bytes for name in SEQUENCE]
    num_pulled = next(n for n in range(13) if sum(size // 4 for size in sizes[:n]) >= 4000)
    assert pulled == ["all", *sorted(SEQUENCE[:num_pulled])]
    out = place.build("out")
    assert place.asked() == sorted({*reached} - {*pulled})
    assert builds.digests(out) == builds.digests(expected)
