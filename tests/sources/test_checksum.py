"""Whether bytes are those that were locked."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pulls import expected_path, pull_all
from support.source_server import Server
from support.strategies import QUICK

from pipeline.core.errors import MismatchError
from pipeline.sources.download.download_plan import plan_download
from pipeline.sources.lock.checksum import Hasher, check_file, note_path
from pipeline.sources.lock.lock import Lock, locate
from pipeline.storage.store import StoredFile


def test_a_local_file_that_changed_is_refused_by_name(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    (folder / "in/a.txt").write_bytes(b"other")
    with pytest.raises(MismatchError, match=r"in/a\.txt: has 5 bytes, the lock says 4"):
        pull_all(locked, folder, dest)
    (folder / "in/a.txt").unlink()
    with pytest.raises(MismatchError, match=r"in/a\.txt: is gone"):
        pull_all(locked, folder, dest)


@pytest.mark.parametrize("content", [b"other", b"TEXT", None])
def test_nobody_is_told_to_remove_a_file_of_their_own(
    server: Server, folder: Path, locked: Lock, dest: Path, content: bytes | None
) -> None:
    [file] = locked.sources["here"].files
    path = locate(dest, folder, locked.sources["here"], file)
    path.unlink() if content is None else path.write_bytes(content)
    checks: list[Callable[[], object]] = [lambda: check_file(path, file, is_local=True)]
    if content != b"TEXT":  # of the locked size, which is all that a pull looks at
        checks.append(lambda: pull_all(locked, folder, dest))
    for check in checks:
        with pytest.raises(MismatchError, match=r"in/a\.txt") as raised:
            check()
        assert str(raised.value.hint).startswith("restore the locked file")
        assert not re.search("remove|delete|pull", str(raised.value.hint))
    assert content is None or path.read_bytes() == content


def test_bytes_that_are_not_those_that_were_locked_are_found(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    pull_all(locked, folder, dest)
    for source in ("hub", "plain"):
        for file in locked.sources[source].files:
            path = locate(dest, folder, locked.sources[source], file)
            if file.num_bytes:
                content = bytearray(path.read_bytes())
                content[-1] ^= 1
                path.write_bytes(content)
                with pytest.raises(MismatchError, match=f"{path.name}: is .*, the lock says"):
                    check_file(path, file)
                path.write_bytes(content[:-1])
                with pytest.raises(MismatchError, match=f"{path.name}: has .* bytes, the lock"):
                    check_file(path, file)
            path.unlink()
            with pytest.raises(MismatchError, match=f"{path.name}: cannot be read"):
                check_file(path, file)


def test_a_note_of_another_version_is_refused(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    pull_all(locked, folder, dest)
    path = expected_path(server, dest, "dolma/books-0000.json.gz")
    told = json.loads(note_path(path).read_bytes())
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    note_path(path).write_text(json.dumps({**told, "etag": '"other"'}))
    with pytest.raises(MismatchError, match='was pulled as the version "other", the lock says'):
        plan_download(locked, folder, dest)


@QUICK
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_digests_of_pieces_are_those_of_the_whole(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    blob = b"blob %d\0" % len(content) + content
    for kind, digest in (("sha256", hashlib.sha256(content)), ("git-sha1", hashlib.sha1(blob))):
        spelled = f"{kind}:{digest.hexdigest()}"
        hasher = Hasher(StoredFile(path="x", num_bytes=len(content), digest=spelled))
        for piece in pieces:
            hasher.update(piece)
        assert hasher.digest == spelled


def test_the_digest_of_a_blob_is_that_of_git() -> None:
    # `echo hello | git hash-object --stdin`
    spelled = "git-sha1:ce013625030ba8dba906f756967f9e9ca394464a"
    hasher = Hasher(StoredFile(path="x", num_bytes=6, digest=spelled))
    hasher.update(b"hello\n")
    assert hasher.digest == spelled
