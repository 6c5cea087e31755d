"""Where pulled files lie, and which paths and addresses are refused."""

from pathlib import Path

import pytest

from pipeline.config.source import Origin
from pipeline.core.errors import InputError
from pipeline.sources.lock.lock import LockedSource, locate
from pipeline.storage.store import StoredFile

COMMIT = "0" * 40


def file(path: str) -> StoredFile:
    return StoredFile(path=path, num_bytes=7, digest="sha256:" + "a" * 64)


def test_places_of_pulled_files() -> None:
    raw, folder = Path("raw"), Path("mixtures")

    def placed(origin: Origin, path: str) -> str:
        locked = LockedSource(origin=origin, revision=COMMIT, files=())
        return locate(raw, folder, locked, file(path)).as_posix()

    hub, url = Origin(hub="org/a", files=("*",)), Origin(url=("https://x/*",))
    assert placed(hub, "data/0.parquet") == f"raw/hub/org/a/{COMMIT}/data/0.parquet"
    assert placed(url, "https://x.org:80/a/b.gz?v=1#2") == "raw/https/x.org:80/a/b.gz?v=1#2"
    assert placed(url, "s3://me:secret@bucket/k") == "raw/s3/bucket/k"
    accounts = [f"abfs://data@{account}.example/k" for account in ("one", "two")]
    assert [placed(url, address) for address in accounts] == [
        "raw/abfs/data@one.example/k", "raw/abfs/data@two.example/k",
    ]  # fmt: skip
    assert placed(url, "https://token@x.org/k") == "raw/https/x.org/k"
    assert placed(url, "file:///k/l") == "raw/file/localhost/k/l"
    assert placed(Origin(path=("in/*",)), "in/a.txt") == "mixtures/in/a.txt"
    assert placed(Origin(path=("/in/*",)), "/in/a.txt") == "/in/a.txt"


@pytest.mark.parametrize("path", ["../a", "a/../b", "/a", "a//b", "./a", "a/", "a\0b"])
def test_a_path_that_leads_elsewhere_has_no_place(path: str) -> None:
    locked = LockedSource(origin=Origin(hub="org/a", files=("*",)), revision=COMMIT, files=())
    with pytest.raises(InputError, match="expected one that can name a file"):
        locate(Path("raw"), Path(), locked, file(path))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a", "a/b", "..://host/a", "../..://host/a", "://h/a", "s3://../a"]
)
def test_an_address_that_leads_elsewhere_has_no_place(path: str) -> None:
    locked = LockedSource(origin=Origin(url=("https://x/*",)), revision=None, files=())
    with pytest.raises(InputError, match="expected one that can name a file"):
        locate(Path("raw"), Path(), locked, file(path))


@pytest.mark.parametrize("revision", [None, "", "main", "../../../etc", "/etc", COMMIT + "0"])
def test_what_is_no_commit_has_no_place(revision: str | None) -> None:
    locked = LockedSource(origin=Origin(hub="org/a", files=("*",)), revision=revision, files=())
    with pytest.raises(InputError, match="expected a commit of 40 hex digits\nhint: "):
        locate(Path("raw"), Path(), locked, file("a"))
