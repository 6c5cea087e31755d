"""Builds from a lock: what goes wrong at the servers, and what is no longer what was locked.

Nothing is lost and nothing doubled; what changed is refused by name, and never looked up anew.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from support import builds, miniature
from support.clusters import start_cluster
from support.source_server import Fault, Server, serve
from support.two_servers import MIXTURE, write_files

from pipeline.audit.verify import verify
from pipeline.config.load import load_mixture
from pipeline.core.errors import ConfigError, InputError, MismatchError, PipelineError
from pipeline.dataset import read_partial
from pipeline.runner.run import build
from pipeline.sources.lock.lock import Lock
from pipeline.sources.lock.lock_file import read_lock

HUB_FILE = "data/1/part.jsonl.zst"
URL_FILE = "books-0001.json.gz"
SLOW = pytest.mark.slow
# What is kept is pulled by this process, as `pull` does; what is not by the workers, as they read.
KEEPS = pytest.mark.parametrize(
    "keeps_raw", [pytest.param(True, marks=SLOW), False], ids=["kept", "not kept"]
)


class Place:
    """Servers, a mixture with its lock, and a cluster that knows the servers."""

    def __init__(self, server: Server, folder: Path, scheduler: str) -> None:
        """Lock the mixture."""
        self.server, self.folder, self.scheduler = server, folder, scheduler
        self.mixture = folder / "mixture.yaml"
        self.mixture.write_text(MIXTURE.replace("ENDPOINT", server.endpoint))
        self.lock_path = folder / "manifests" / "two-servers.lock.json"
        self.run("lock", self.mixture)

    def run(self, *arguments: str | Path, **variables: str) -> CompletedProcess[str]:
        """Run the command here."""
        home = miniature.at_home(self.server, self.folder)
        return builds.run(*arguments, cwd=self.folder, **{**home, **variables})

    def build(self, out: Path, *settings: str, keeps_raw: bool) -> dict[str, str]:
        """Build on the cluster; return the digests of the output. `raw` is beside the output."""
        mixture = load_mixture(self.mixture, settings)
        build(
            mixture, out, lock=self.lock, raw=self.raw(out), keeps_raw=keeps_raw, workers=1,
            scheduler=self.scheduler, report=quiet,
        )  # fmt: skip
        return builds.digests(out)

    @property
    def lock(self) -> Lock:
        """What was locked."""
        return read_lock(self.lock_path)

    @staticmethod
    def raw(out: Path) -> Path:
        """Where a build pulls to."""
        return out.with_name("raw")


def quiet(stage: str, done: int, total: int, *_: object) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """What the tests share; each leaves the servers as they were."""
    folder = tmp_path_factory.mktemp("place")
    write_files(folder)
    repos = {"org/a": folder / "a", "org/gated": folder / "a"}
    with (
        serve(repos, files={"dolma": folder / "dolma"}, gated=["org/gated"]) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        home = miniature.at_home(server, folder)
        for name, value in home.items():
            patch.setenv(name, value)
        with start_cluster(tmp_path_factory.mktemp("cluster"), **home) as scheduler:
            yield Place(server, folder, scheduler)


@pytest.fixture(scope="module")
def expected(place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of a build in good health."""
    return place.build(tmp_path_factory.mktemp("expected") / "out", keeps_raw=True)


@pytest.fixture
def healthy(place: Place) -> Iterator[Place]:
    """Servers without faults before and after, and with what they had."""
    place.server.set_faults([])
    place.server.reset()
    yield place
    place.server.set_faults([])
    write_files(place.folder)


def remote_bytes(place: Place) -> int:
    return sum(one.num_bytes for name, one in place.lock.sources.items() if name != "here")


def leftovers(place: Place, out: Path) -> list[Path]:
    """Return pieces of files, wherever they would be."""
    scratch = place.raw(out) / ".partial"
    return [*scratch.glob("*")] if scratch.exists() else []


MENDED: dict[str, list[Fault]] = {
    "429 with a wait": [{"kind": "status", "status": 429, "headers": {"Retry-After": "1"}}],
    "503": [{"kind": "status", "status": 503}],
    "cut": [{"kind": "cut", "bytes": 1000}],
    "short, as if whole": [{"kind": "short", "bytes": 900}],
    "slow drip": [{"kind": "drip", "bytes": 500, "seconds": 0.01}],
    "cut, then no ranges": [{"kind": "cut", "bytes": 700}, {"kind": "ignore_range"}],
}


@KEEPS
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("503", "cut, then no ranges") else SLOW)
        for name in MENDED
    ],
)
def test_trouble_that_passes_changes_nothing(
    name: str, keeps_raw: bool, healthy: Place, expected: dict[str, str], tmp_path: Path
) -> None:
    healthy.server.set_faults(
        [{**fault, "match": match} for match in (HUB_FILE, URL_FILE) for fault in MENDED[name]]
    )
    out = tmp_path / "out"
    assert healthy.build(out, keeps_raw=keeps_raw) == expected
    # Each byte comes once; but for the beginnings, where no other way is left.
    twice = 2 * 700 if name == "cut, then no ranges" else 0
    assert healthy.server.counters()["bytes"] == remote_bytes(healthy) + twice
    for match in (f"/lfs/org/a/{HUB_FILE}", URL_FILE):
        assert len(healthy.server.log(match)) == (1 if name == "slow drip" else 2)
    assert healthy.raw(out).exists() == keeps_raw
    assert leftovers(healthy, out) == []


@KEEPS
def test_inputs_that_are_not_kept_are_logged_as_not_read_where_they_are_not(
    keeps_raw: bool, healthy: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, line = tmp_path / "out", '{"unread_inputs"'
    first = healthy.build(out, keeps_raw=keeps_raw)
    assert not any(one.startswith(line) for one in caplog.messages)
    assert healthy.build(out, keeps_raw=keeps_raw) == first
    unread: dict[str, int] = {}
    for one in caplog.messages:
        unread.update(json.loads(one)["unread_inputs"] if one.startswith(line) else {})
    assert sum(unread.values()) == (0 if keeps_raw else remote_bytes(healthy))


@pytest.mark.parametrize("keeps", [[], ["--no-keep-raw"]], ids=["kept", "not kept"])
def test_partitions_alone_are_fetched_alone(
    keeps: list[str], healthy: Place, tmp_path: Path
) -> None:
    """Of two servers with two files each one is fetched, once; of others nothing is asked."""
    out = tmp_path / "out"
    healthy.run(
        "build", healthy.mixture, "--out", out, "--raw", healthy.raw(out), "--workers", "1",
        "--partitions", "hub/1=part,plain/books_0001", *keeps,
    )  # fmt: skip
    log = healthy.server.log()
    assert [line for line in log if URL_FILE in line or HUB_FILE in line]
    assert not [line for line in log if "data/0" in line or "books-0000" in line]
    sizes = {one.path: one.num_bytes for it in healthy.lock.sources.values() for one in it.files}
    ours = [size for path, size in sizes.items() if path.endswith((HUB_FILE, URL_FILE))]
    assert healthy.server.counters()["bytes"] == sum(ours)
    record = read_partial(out / "partial.json")
    assert record.partitions == ("hub/1=part", "plain/books_0001")
    assert {one.locked for made in record.sources.values() for it in made for one in it.inputs} == {
        file.digest
        for source in healthy.lock.sources.values()
        for file in source.files
        if file.path.endswith((HUB_FILE, URL_FILE))
    }
    assert verify(out) == []


@KEEPS
def test_files_of_one_partition_are_each_the_locked_one(
    keeps_raw: bool, healthy: Place, tmp_path: Path
) -> None:
    grouped = [f"sources.{name}.from.files_per_partition=2" for name in ("hub", "plain", "here")]
    out = tmp_path / "out"
    built = healthy.build(out, *grouped, keeps_raw=keeps_raw)
    sources = json.loads((out / "manifest.json").read_bytes())["sources"]
    assert [len(source["partitions"]) for source in sources.values()] == [1, 1, 1]
    locked = {
        file["path"].rpartition("/")[2]: file["locked"]
        for source in sources.values()
        for part in source["partitions"]
        for file in (part["input"], *part["more_inputs"])
    }
    files = [one for source in healthy.lock.sources.values() for one in source.files]
    assert locked == {one.path.rpartition("/")[2]: one.digest for one in files}
    assert healthy.build(out, *grouped, keeps_raw=keeps_raw) == built
    healthy.server.set_faults([{"kind": "changed", "match": URL_FILE, "times": -1}])
    with pytest.raises((InputError, MismatchError), match=f"{URL_FILE}.*version"):
        healthy.build(tmp_path / "again" / "out", *grouped, keeps_raw=keeps_raw)


@KEEPS
@pytest.mark.parametrize("match", [HUB_FILE, pytest.param(URL_FILE, marks=SLOW)])
def test_a_file_of_another_etag_is_refused_by_name_and_the_next_build_goes_on(
    match: str, keeps_raw: bool, healthy: Place, expected: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # What comes after a break must be of the same version as what came before.
    faults = [{"kind": "cut", "bytes": 500, "match": match}]
    healthy.server.set_faults([*faults, {"kind": "changed", "match": match, "times": -1}])
    with pytest.raises((InputError, MismatchError), match=f"{match}.*version"):
        healthy.build(out, keeps_raw=keeps_raw)
    assert not (out / "manifest.json").exists()
    healthy.server.set_faults([])
    assert healthy.build(out, keeps_raw=keeps_raw) == expected


def test_a_file_that_is_gone_ends_the_build_by_name(healthy: Place, tmp_path: Path) -> None:
    healthy.server.set_faults([{"kind": "status", "status": 404, "match": HUB_FILE, "times": -1}])
    with pytest.raises(InputError, match=rf"{HUB_FILE}: got 404"):
        healthy.build(tmp_path / "out", keeps_raw=False)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    "more", [pytest.param((), marks=SLOW), ("--no-keep-raw",)], ids=["kept", "not kept"]
)
def test_gated_data_is_refused_with_the_page_to_accept(
    more: tuple[str, ...], healthy: Place, tmp_path: Path
) -> None:
    gated = "sources.hub.from.hub=org/gated"
    common = ("--set", gated, "--lock", tmp_path / "gated.json")
    assert healthy.run("lock", healthy.mixture, *common).returncode == 0
    arguments = ("build", healthy.mixture, *common, "--out", tmp_path / "out", *more)
    refused = healthy.run(*arguments, "--raw", tmp_path / "raw", HF_TOKEN="wrong")
    assert refused.returncode == 2
    assert "got 403" in refused.stderr
    assert f"{healthy.server.endpoint}/datasets/org/gated" in refused.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


# Under an old lock


def refuses(place: Place, out: Path, keeps_raw: bool, kind: type[PipelineError]) -> PipelineError:
    """Build, which must be refused; nothing is looked up, and the lock stays as it is."""
    before = place.lock_path.read_bytes()
    place.server.reset()
    with pytest.raises(kind) as refused:
        place.build(out, keeps_raw=keeps_raw)
    assert [*place.server.log("/tree/"), *place.server.log("/revision/")] == []
    assert place.lock_path.read_bytes() == before
    assert not (out / "manifest.json").exists()
    assert refused.value.hint
    return refused.value


def flipped(data: bytes) -> bytes:
    """Return other bytes of the same number, at a place that no decompressor looks at first."""
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


@KEEPS
@pytest.mark.parametrize("changed", ["flipped", pytest.param("longer", marks=SLOW)])
@pytest.mark.parametrize(
    ("path", "name"), [(f"a/{HUB_FILE}", HUB_FILE), (f"dolma/{URL_FILE}", URL_FILE)]
)
def test_a_file_that_changed_upstream_is_refused_by_name(
    path: str, name: str, changed: str, keeps_raw: bool, healthy: Place, tmp_path: Path
) -> None:
    data = (healthy.folder / path).read_bytes()
    (healthy.folder / path).write_bytes(flipped(data) if changed == "flipped" else data + data)
    error = refuses(healthy, tmp_path / "out", keeps_raw, PipelineError)
    assert name in error.message
    # ManifestFacts from what was locked, and not from what its reader makes of it.
    assert re.search("the lock says|got the version|got the range", error.message)


def test_a_changed_upstream_file_ends_the_command_with_its_name_and_what_to_do(
    healthy: Place, tmp_path: Path
) -> None:
    path = healthy.folder / "a" / HUB_FILE
    path.write_bytes(flipped(path.read_bytes()))
    refused = healthy.run("build", healthy.mixture, "--out", tmp_path / "out", "--raw", tmp_path)
    assert refused.returncode == 1
    assert HUB_FILE in refused.stderr
    assert "hint: " in refused.stderr
    assert "lock again" in refused.stderr


def test_a_branch_that_moves_moves_no_build(
    healthy: Place, expected: dict[str, str], tmp_path: Path
) -> None:
    write_files(tmp_path / "new", "new")
    healthy.server.push("org/a", tmp_path / "new" / "a")
    try:
        assert healthy.build(tmp_path / "out", keeps_raw=True) == expected
        checked = healthy.run("lock", healthy.mixture, "--check")
        assert checked.returncode == 1
        assert f"hub: {HUB_FILE}" in checked.stdout
        assert "hub: revision is" in checked.stdout
    finally:
        healthy.server.push("org/a", healthy.folder / "a")


def test_a_revision_that_is_not_the_locked_one_is_refused(healthy: Place, tmp_path: Path) -> None:
    settings = ("--set", "sources.hub.from.revision=v1")
    refused = healthy.run("build", healthy.mixture, "--out", tmp_path / "out", *settings)
    assert refused.returncode == 2
    assert "\nsources.hub.from: got " in refused.stderr
    assert " as locked" in refused.stderr
    assert "hint: lock again: ettin-data lock" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("harm", ["flipped", "cut"])
@pytest.mark.parametrize("name", [HUB_FILE, URL_FILE])
def test_a_pulled_file_that_was_damaged_is_refused_by_name(
    name: str, harm: str, healthy: Place, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("pull", healthy.mixture, "--dest", healthy.raw(out))
    assert healthy.run(*arguments).returncode == 0
    [path] = [one for one in healthy.raw(out).rglob("*") if str(one).endswith(name)]
    data = path.read_bytes()
    path.write_bytes(flipped(data) if harm == "flipped" else data[:-100])
    error = refuses(healthy, out, True, MismatchError)
    assert name in error.message
    assert "the lock says" in error.message
    assert "pull" in str(error.hint)


@pytest.mark.parametrize("harm", ["flipped", "cut"])
def test_a_local_archive_that_was_damaged_is_told_as_not_what_was_locked(
    harm: str, healthy: Place, tmp_path: Path
) -> None:
    path = healthy.folder / "in" / "notes.json.gz"
    data = path.read_bytes()
    path.write_bytes(flipped(data) if harm == "flipped" else data[:-100])
    error = refuses(healthy, tmp_path / "out", True, MismatchError)
    assert "notes.json.gz" in error.message
    assert "the lock says" in error.message


def test_a_local_file_that_is_gone_at_the_next_build_is_refused_by_name(
    healthy: Place, expected: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert healthy.build(out, keeps_raw=False) == expected
    (healthy.folder / "in" / "letters.jsonl").unlink()
    with pytest.raises(PipelineError, match=r"in/letters\.jsonl"):
        healthy.build(out, keeps_raw=False)
    write_files(healthy.folder)
    assert healthy.build(out, keeps_raw=False) == expected


@pytest.mark.parametrize("harm", ["other", "longer", "gone"])
def test_a_local_file_that_changed_is_refused_by_name(
    harm: str, healthy: Place, tmp_path: Path
) -> None:
    path = healthy.folder / "in" / "letters.jsonl"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"winter", b"summer") if harm == "other" else data + data)
    if harm == "gone":
        path.unlink()
    error = refuses(healthy, tmp_path / "out", True, MismatchError)
    assert "letters.jsonl" in error.message
    # It is the user's own: nothing brings it back once it is removed.
    assert str(error.hint).startswith("restore the locked file")
    assert not re.search("remove|pull", str(error.hint))


def test_a_remote_mixture_without_a_lock_is_refused_with_the_command_to_run(
    healthy: Place, tmp_path: Path
) -> None:
    refused = builds.run("build", healthy.mixture, "--out", "out", cwd=tmp_path)
    assert refused.returncode == 2
    assert "sources.hub.from: got a remote source without a lock" in refused.stderr
    assert "ettin-data lock" in refused.stderr
    assert os.listdir(tmp_path) == []


# Budgets


def test_a_budget_that_no_text_can_meet_is_refused_before_any_work(
    healthy: Place, tmp_path: Path
) -> None:
    settings = ("--set", "sources.plain.tokens=9M", "--set", "sources.plain.max_repetition=2")
    arguments = ("build", healthy.mixture, "--out", tmp_path / "out", *settings)
    refused = healthy.run(*arguments, "--raw", tmp_path / "raw", "--json")
    assert refused.returncode == 2
    told: dict[str, Any] = json.loads(refused.stdout)
    assert told["error"].startswith("sources.plain.tokens: needs 9,000,000 tokens, has at most ")
    assert "raise sources.plain.max_repetition to " in told["hint"]
    assert "lower sources.plain.tokens to " in told["hint"]
    assert healthy.server.log() == []
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "raw").exists()


def test_a_budget_that_is_short_by_little_is_refused_before_anything_is_drawn(
    healthy: Place, expected: dict[str, str], tmp_path: Path
) -> None:
    assert healthy.build(tmp_path / "out", keeps_raw=True) == expected
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    available = manifest["sources"]["plain"]["budget"]["available"]
    short = tmp_path / "short"
    with pytest.raises(ConfigError) as refused:
        healthy.build(short, f"sources.plain.tokens={available + 1}", keeps_raw=True)
    assert refused.value.message == (
        f"sources.plain.tokens: needs {available + 1:,} tokens, has {available:,} "
        f"at max_repetition 1 ({manifest['sources']['plain']['tokens']['validation']:,} tokens are "
        "for validation)"
    )
    assert refused.value.hint == (
        f"raise sources.plain.max_repetition to 2, or lower sources.plain.tokens to {available:,}"
    )
    assert [path.name for path in short.rglob("*.mds") if ".ettin" not in path.parts] == []
    # Which is what there is, to the token.
    exact = healthy.build(tmp_path / "exact", f"sources.plain.tokens={available}", keeps_raw=True)
    others = builds.differences(exact, expected)
    assert "manifest.json" in others
    assert not any(path.startswith(("train/", "order/checkpoint")) for path in others)
