"""Files of locks: what is written is what is read, and nothing else is taken or replaced."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.locks import A_DIGEST, COMMIT, TOKENIZER, file, lock
from support.strategies import QUICK

from pipeline.config.settings import settings_of
from pipeline.config.source import DecodeSpec, Origin
from pipeline.core.digest import canonical_json, sha256_bytes
from pipeline.core.errors import InputError, MismatchError, OutputError
from pipeline.sources.lock.lock import LOCATION_KEYS, Lock, LockedSource
from pipeline.sources.lock.lock_file import lock_bytes, read_lock, write_lock
from pipeline.storage.store import StoredFile

paths = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
    | st.sampled_from(["a", "a/b", "a/c", "/a", "http://x/", "a//b", "b/"]),
    min_size=1,
    max_size=8,
    unique=True,
).map(sorted)


@QUICK
@given(paths, st.data())
def test_what_is_written_is_what_is_read(
    tmp_path: Path, names: list[str], data: st.DataObject
) -> None:
    sizes = st.integers(0, 2**63 - 1)
    rows = st.none() | sizes
    digests = st.sampled_from(["sha256:" + "0" * 64, "git-sha1:" + "1" * 40, 'etag:W/"x\\y"'])
    files = tuple(
        StoredFile(
            path=name,
            num_bytes=data.draw(sizes),
            digest=data.draw(digests),
            num_rows=data.draw(rows),
        )
        for name in names
    )
    written = lock(files, revision=data.draw(st.sampled_from([None, COMMIT])))
    path = tmp_path / "a.lock.json"
    write_lock(written, path)
    assert read_lock(path) == written
    assert path.read_bytes() == lock_bytes(written)
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]


def test_origins_of_every_kind_are_read_as_written(tmp_path: Path) -> None:
    decode = DecodeSpec(tokenizer="org/llama", revision=COMMIT)
    origins = {
        "a": Origin(hub="org/a", revision="v1", config="en", split="train"),
        "b": Origin(hub="org/a", files=("a/**", "b/*"), decode=decode),
        "c": Origin(path=("x/*.txt", "y/*.txt")),
        "d": Origin(url=("s3://bucket/*.parquet",)),
    }
    written = Lock(
        name="small",
        tokenizer=TOKENIZER,
        algorithms={},
        sources={
            name: LockedSource(
                origin=origin,
                revision=None,
                files=(file(),),
                tokenizer=TOKENIZER if origin.decode else None,
            )
            for name, origin in origins.items()
        },
    )
    write_lock(written, tmp_path / "lock")
    assert read_lock(tmp_path / "lock") == written


def test_every_key_of_an_origin_is_known_to_locks() -> None:
    others = {"text", "id", "partition", "files_per_partition", "on_missing"}
    assert {*LOCATION_KEYS, *others} == set(settings_of(Origin))


KILLED = """
import os, signal, sys
from pathlib import Path

Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from pipeline.cli.main import main

main(["lock", "small.yaml"])
"""


def test_a_killed_lock_leaves_nothing_among_the_manifests(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text")
    (tmp_path / "small.yaml").write_text(
        """\
name: small
chunk: {algorithm: whole-v1, size: 128}
sources: {a: {from: {path: a.txt}}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""
    )
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    [left] = (tmp_path / "manifests").iterdir()
    assert left.name.startswith(".partial-")


@QUICK
@given(st.data())
def test_any_changed_byte_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.lock.json"
    content = bytearray(lock_bytes(lock((file("a/b", 12), file("c", 3)))))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.sampled_from([1, 2, 16, 128]))
    path.write_bytes(content)
    with pytest.raises((MismatchError, InputError), match=r"a\.lock\.json: "):
        read_lock(path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "null", '{"format": "ettin-lock-v1"}', "[" * 100_000]
)
def test_what_is_no_lock_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.lock.json"
    path.write_text(content)
    with pytest.raises(MismatchError, match="its digest does not match its content"):
        read_lock(path)


@pytest.mark.parametrize("content", ["all: mine\n", "{}", "[" * 100])
def test_what_is_no_lock_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_text(content)
    with pytest.raises(OutputError, match=r"mixture\.yaml: got something that is no lock"):
        write_lock(lock((file(),)), path)
    assert path.read_text() == content
    with pytest.raises(OutputError, match="got something that is no lock"):
        write_lock(lock((file(),)), tmp_path)
    # A damaged lock may be replaced, which is what its error advises.
    for damaged in (lock_bytes(lock((file(),)))[:40], b'{"format": "ettin-lock-v9"}'):
        path.write_bytes(damaged)
        write_lock(lock((file(),)), path)


@pytest.mark.parametrize(
    "stored",
    [[-1, A_DIGEST], [True, A_DIGEST], ["7", A_DIGEST], [7, "sha256:x"], [7, None], [7], 7, "ab",
     [7, A_DIGEST, -1], [7, A_DIGEST, None, "x"], [2**64, A_DIGEST]],
)  # fmt: skip
def test_sizes_and_digests_that_are_none_are_refused(tmp_path: Path, stored: Any) -> None:
    content = json.loads(lock_bytes(lock((file(),))))
    del content["digest"]
    content["sources"]["a"]["files"] = {"": {"a.jsonl": stored}}
    content["digest"] = sha256_bytes(canonical_json(content))
    path = tmp_path / "a.lock.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a\.lock\.json: .*got .*\n?.*lock again with this"):
        read_lock(path)


def test_a_lock_that_is_not_there_or_of_another_version_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.lock.json"
    with pytest.raises(InputError, match=r"got no file .*\nhint: write it: ettin-data lock"):
        read_lock(path)
    path.write_text('{"format": "ettin-lock-v9"}')
    with pytest.raises(InputError, match="got the format 'ettin-lock-v9', expected ettin-lock-v1"):
        read_lock(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.update(extra=1), "extra: got an unknown key, expected format or"),
        (lambda content: content.pop("algorithms"), "algorithms: got nothing, expected an object"),
        (lambda content: content["tokenizer"].pop("sha256"), "tokenizer.sha256: got nothing"),
        (lambda content: content["sources"]["a"].update(url=1), "sources.a.url: got an unknown"),
        (
            lambda content: content["sources"]["a"]["from"].update(new=1),
            r"sources\.a\.from\.new: got an",
        ),
    ],
)
def test_keys_that_are_unknown_or_missing_are_named(
    tmp_path: Path, change: Callable[[Any], Any], told: str
) -> None:
    content = json.loads(lock_bytes(lock((file(),))))
    del content["digest"]
    change(content)
    content["digest"] = sha256_bytes(canonical_json(content))
    path = tmp_path / "a.lock.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"a\.lock\.json: {told}(.*\n.*)lock again with this"):
        read_lock(path)


def test_a_lock_of_thirty_thousand_files_is_small_and_has_a_line_a_file() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    folder = "global-shard_{:02d}_of_10/local-shard_{}_of_10"
    files = tuple(
        file(
            f"filtered/{folder.format(i // 3000, i // 300 % 10)}/shard_{i:08d}_processed.parquet",
            123_456_789 + i,
            digest,
        )
        for i in range(30_000)
    )
    content = lock_bytes(lock(files))
    assert len(content) < 4_000_000
    assert sum(line.startswith(b'     "shard_') for line in content.split(b"\n")) == 30_000
