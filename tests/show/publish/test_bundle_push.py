"""A push: a plan first, one commit, on from where it broke, and nothing of anyone else's."""

import json
import shutil
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from huggingface_hub import constants, snapshot_download
from support import builds
from support.hub_push import Hub, running_hub
from support.published import Place

from pipeline.show.publish.bundle_push import plan_push, push_bundle

# How the library of the Hub calls its own client.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ADDRESS = "hf://datasets/org/letters"
NAME = "datasets/org/letters"


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Hub]:
    with running_hub(tmp_path / "cache", monkeypatch, capsys) as hub:
        yield hub


@pytest.fixture
def bundle(signed: Path, tmp_path: Path) -> Path:
    """A signed bundle with rows, to be changed."""
    shutil.copytree(signed, tmp_path / "bundle")
    return tmp_path / "bundle"


def there(hub: Hub, branch: str = "main") -> dict[str, str]:
    """Return the digests of the files of a branch."""
    folder = snapshot_download(
        NAME.removeprefix("datasets/"), repo_type="dataset", revision=branch, force_download=True
    )
    return {
        name: digest for name, digest in builds.digests(Path(folder)).items() if name[:4] != ".git"
    }


def large(folder: Path) -> set[str]:
    return {sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.parquet")}


def put(hub: Hub, name: str, path: str) -> None:
    """Commit a file of somebody else's."""
    line = {"key": "file", "value": {"path": path, "content": b64encode(b"x").decode()}}
    hub.ask(f"/api/{name}/commit/main", line)


def test_without_upload_it_only_says_what_it_would_do(hub: Hub, bundle: Path) -> None:
    code, out, err = hub.run("push", bundle, ADDRESS)
    assert code == 0, err
    assert "a new private data set, " in out
    assert "nothing was sent, --upload does it" in out
    lines = [line for line in out.splitlines() if line.startswith("send ")]
    assert len(lines) == len(builds.digests(bundle))
    assert hub.ask("/received") == []
    code, out, _ = hub.run("push", bundle, ADDRESS, "--json")
    told = json.loads(out)
    assert (told["exists"], told["commit"], told["kept"]) == (False, None, [])
    assert told["num_bytes"] == sum(
        path.stat().st_size for path in bundle.rglob("*") if path.is_file()
    )


def test_what_is_there_afterwards_is_the_bundle(hub: Hub, bundle: Path, keys: Path) -> None:
    code, out, err = hub.run("push", bundle, ADDRESS, "--upload", "--json-progress")
    assert code == 0, err
    assert "hf_x" not in out + err
    # One line each, and no bars of the library.
    events = [json.loads(line) for line in err.splitlines()]
    num_bytes = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    about = [events[-1][key] for key in ("stage", "unit", "done", "total", "bytes")]
    assert about == ["push", "files", *[len(builds.digests(bundle))] * 2, num_bytes]
    assert there(hub) == builds.digests(bundle)
    assert Counter(hub.ask("/received")) == Counter(large(bundle))
    # A second push has nothing to send, and makes no commit.
    before = hub.ask(f"/api/{NAME}")["sha"]
    code, out, _ = hub.run("push", bundle, ADDRESS, "--upload")
    assert code == 0
    assert "0 files to send (0B)" in out
    assert hub.ask(f"/api/{NAME}")["sha"] == before
    # What somebody downloads is whole, and signed.
    down = bundle.parent / "down"
    snapshot_download("org/letters", repo_type="dataset", local_dir=down)
    assert hub.run("bundle", "--check", down, "--key", keys / "own.pub")[0] == 0


def test_a_new_bundle_sends_what_changed_and_removes_what_is_gone(
    hub: Hub, bundle: Path, place: Place
) -> None:
    assert hub.run("push", bundle, ADDRESS, "--upload")[0] == 0
    unsigned = place.with_rows
    code, out, _ = hub.run("push", unsigned, ADDRESS)
    assert code == 0
    assert "remove bundle.sig" in out
    assert "0 files to send" in out
    assert hub.run("push", unsigned, ADDRESS, "--upload")[0] == 0
    assert there(hub) == builds.digests(unsigned)


@pytest.mark.parametrize(
    ("part", "status", "after", "code"),
    # The Hub says what it lacks, and takes one of them; or takes all, and the commit breaks.
    [("/lfs/", 403, 2, 2), ("/commit/", 503, 0, 75)],
)
def test_a_push_that_broke_goes_on(
    hub: Hub, bundle: Path, part: str, status: int, after: int, code: int
) -> None:
    hub.refuse(part, status, 99, after)
    got, _, err = hub.run("push", bundle, ADDRESS, "--upload")
    assert got == code
    assert f"error: {ADDRESS}: the Hub " in err
    assert there(hub) == {}
    arrived = hub.ask("/received")
    assert len(large(bundle)) > 2
    assert (0 < len(arrived) < len(large(bundle))) == bool(after)
    hub.refuse(part, status, 0)
    got, _, err = hub.run("push", bundle, ADDRESS, "--upload")
    assert got == 0, err
    assert there(hub) == builds.digests(bundle)
    # Each came once, in one push or the other.
    assert Counter(hub.ask("/received")) == Counter(large(bundle))


def test_a_branch_is_made_and_main_left_as_it_is(hub: Hub, bundle: Path, place: Place) -> None:
    assert hub.run("push", place.with_rows, ADDRESS, "--upload")[0] == 0
    before = there(hub)
    code, out, err = hub.run("push", bundle, f"{ADDRESS}@draft", "--upload")
    assert code == 0, err
    # What `main` has comes with the branch.
    assert "1 files to send" in out
    assert there(hub, "draft") == builds.digests(bundle)
    assert there(hub) == before


def test_a_data_set_of_something_else_is_left_alone(hub: Hub, bundle: Path) -> None:
    hub.ask("/api/repos/create", {"name": "letters", "organization": "org", "type": "dataset"})
    put(hub, NAME, "theirs.parquet")
    before = hub.ask(f"/api/{NAME}")["sha"]
    code, _, err = hub.run("push", bundle, ADDRESS, "--upload")
    assert code == 2
    assert "got a data set with theirs.parquet, expected an empty one" in err
    assert hub.ask(f"/api/{NAME}")["sha"] == before


def test_a_commit_that_came_between_is_not_overwritten(
    hub: Hub, bundle: Path, place: Place
) -> None:
    assert hub.run("push", place.with_rows, ADDRESS, "--upload")[0] == 0
    plan = plan_push(bundle, ADDRESS)
    put(hub, NAME, "note.txt")
    with pytest.raises(Exception, match="the Hub refuses") as raised:
        push_bundle(bundle, plan)
    assert "somebody else changed the repository meanwhile" in str(raised.value)
    assert "note.txt" in there(hub)


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (401, 2, "the Hub refuses", "log in with `hf auth login`, or set HF_TOKEN"),
        (403, 2, "the Hub refuses", "whether the repository is gated, and what room"),
        (409, 2, "the Hub refuses", "somebody else changed the repository meanwhile"),
        (413, 2, "the Hub refuses", "ask for more room, or push less"),
        (429, 75, "the Hub answers 429", "run it again later"),
        (502, 75, "the Hub answers 502", "run it again later"),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(
    hub: Hub, bundle: Path, status: int, code: int, message: str, hint: str
) -> None:
    hub.refuse("/commit/", status, 99)
    got, out, err = hub.run("push", bundle, ADDRESS, "--upload")
    assert got == code
    lines = err.splitlines()
    [error] = [line for line in lines if line.startswith("error: ")]
    [told] = [line for line in lines if line.startswith("hint: ")]
    assert error.startswith(f"error: {ADDRESS}: {message}")
    assert hint in told
    assert "hf_x" not in out + err


def test_a_hub_that_is_away_or_hides_the_data_set(
    hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refuse(f"/api/{NAME}", 401, 99)
    code, _, err = hub.run("push", bundle, ADDRESS)
    assert code == 2
    assert "the Hub refuses" in err
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, _, err = hub.run("push", bundle, ADDRESS)
    assert code == 75
    assert "the Hub cannot be reached" in err


def test_a_bundle_that_is_damaged_is_not_pushed(hub: Hub, bundle: Path, place: Place) -> None:
    (bundle / "README.md").write_text("other")
    code, _, err = hub.run("push", bundle, ADDRESS, "--upload")
    assert code == 1
    assert "README.md: has 5 bytes" in err
    assert "ettin-data bundle --check" in err
    code, _, err = hub.run("push", place.out, ADDRESS, "--upload")
    assert code == 2
    assert "got no bundle.json" in err
    assert hub.ask("/received") == []


@pytest.mark.parametrize(
    "address",
    ["hf://org/letters", "hf://datasets/letters", f"{ADDRESS}/sub", "s3://a/b", "letters"],
)
def test_other_addresses_are_refused(bundle: Path, address: str) -> None:
    done = builds.run("push", bundle, address)
    assert done.returncode == 2
    assert "expected hf://datasets/ORG/NAME[@BRANCH]" in done.stderr
