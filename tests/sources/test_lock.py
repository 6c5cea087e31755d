"""Locks: their file, what they find at real servers, and what they refuse."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import builds
from support.locks import A_DIGEST, COMMIT, MIXTURE, file, lock, quiet
from support.paths import REPOSITORY
from support.source_server import Fault, Server, serve

from pipeline.config.load import load_config
from pipeline.config.mixture import Mixture
from pipeline.config.replay import Replay
from pipeline.config.source import Origin
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import InputError, MismatchError
from pipeline.sources.lock.check import (
    check_lock,
    check_sources,
    check_tokenizer,
    differences,
)
from pipeline.sources.lock.create import POOL, make_lock
from pipeline.sources.lock.lock import Lock, LockedSource, LockedTokenizer
from pipeline.sources.lock.lock_file import default_lock_path, lock_bytes, read_lock, write_lock
from pipeline.stages import tokenizer
from pipeline.stages.tokenizer import read_json
from pipeline.storage.store import StoredFile

ONE, OLD, NEW = b"one\n", b"two\ntwo\n", b"TWO\nTWO\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the servers of this module have, and a mixture's folder."""
    root = tmp_path_factory.mktemp("lock")
    contents = {
        "a/data/one/part-0.jsonl": ONE,
        "a/data/part-1.jsonl": OLD,
        "a/notes.json": b"[]\n",
        "b/data/part-1.jsonl": NEW,
        "b/data/part-2.jsonl": b"three\n",
        "b/notes.json": b"[1]\n",
        "dolma/books-0000.json.gz": b"books 0",
        "dolma/books-0001.json.gz": b"books 1",
        "pool/train/index.json": b"{}",
        "pool/train/x/shard.00000.mds": b"mds",
        "pool/train/x/stats.json": b"{}",
        "in/a.txt": b"text",
    }
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server of its own for every test, since its refs move; the endpoint of the Hub."""
    repos = {"org/a": folder / "a", "org/pool": folder / "pool"}
    with serve(repos, files={"dolma": folder / "dolma"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        yield server


def declared(server: Server, folder: Path, text: str = MIXTURE) -> Mixture | Replay:
    content = text.replace("ENDPOINT", server.endpoint)
    return load_config(folder / "small.yaml", text=content.encode())


def test_a_lock_has_every_file_with_the_digest_of_its_origin(server: Server, folder: Path) -> None:
    made = make_lock(declared(server, folder), quiet)
    assert list(made.sources) == ["here", "hub", "notes", "plain"]
    hub, notes, plain, here = (made.sources[name] for name in ("hub", "notes", "plain", "here"))
    assert hub.revision == notes.revision == server.commit
    assert plain.revision is here.revision is None
    assert hub.files == (
        file("data/one/part-0.jsonl", 4, f"sha256:{sha256_bytes(ONE)}"),
        file("data/part-1.jsonl", 8, f"sha256:{sha256_bytes(OLD)}"),
    )
    # As `git hash-object` says.
    assert notes.files == (
        file("notes.json", 3, "git-sha1:fe51488c7066f6687ef680d6bfaa4f7768ef205c"),
    )
    assert [one.path for one in plain.files] == [
        server.url("dolma", f"books-000{i}.json.gz") for i in (0, 1)
    ]
    assert all(one.digest.startswith("etag:") and one.num_bytes == 7 for one in plain.files)
    assert here.files == (file("in/a.txt", 4, f"sha256:{sha256_bytes(b'text')}"),)
    assert made.algorithms == {
        "chunk": "whole-v1",
        "dedup.minhash": "minhash-v1",
        "order": "feistel-v1",
        "sample": "keyed-v1",
    }
    assert (
        made.tokenizer.digest
        == tokenizer.load_tokenizer("modernbert", add_prefix_space=False).digest
    )


def test_a_lock_made_twice_has_the_same_bytes(server: Server, folder: Path) -> None:
    mixture = declared(server, folder)
    assert lock_bytes(make_lock(mixture, quiet)) == lock_bytes(make_lock(mixture, quiet))


def test_sources_of_one_repository_share_one_look_at_it(server: Server, folder: Path) -> None:
    make_lock(declared(server, folder), quiet)
    assert len(server.log("/api/datasets/org/a/revision/")) == 1
    assert len(server.log("/api/datasets/org/a/tree/")) == 1


def test_a_pool_is_locked_as_one_source(server: Server, folder: Path) -> None:
    text = """\
name: replay
pool: {hub: org/pool}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""
    made = make_lock(declared(server, folder, text), quiet)
    assert list(made.sources) == [POOL]
    paths = [one.path for one in made.sources[POOL].files]
    assert paths == ["train/index.json", "train/x/shard.00000.mds"]
    assert made.sources[POOL].revision == server.commit
    assert made.algorithms == {"order": "feistel-v1"}


def test_the_tokenizer_that_decodes_is_pinned(server: Server, folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(read_json("modernbert"))
    text = MIXTURE.replace('"in/*.txt"', '"in/*.txt", decode: {tokenizer: tokenizer.json}')
    made = make_lock(declared(server, folder, text), quiet)
    pinned = made.sources["here"].tokenizer
    assert pinned is not None
    assert pinned.digest == sha256_bytes((folder / "tokenizer.json").read_bytes())
    check_tokenizer(pinned, pinned.digest)
    with pytest.raises(MismatchError, match=r"tokenizer\.json: sha256 of .* is 00, the lock says"):
        check_tokenizer(pinned, "00")


HUB_OF_TOKENIZERS = """
import json
from support import hub_server

class Handler(hub_server.Handler):
    def do_GET(self):
        if self.path.partition("?")[0] != "/api/models/org/tokenizer":
            return super().do_GET()
        body = json.dumps({"id": "org/tokenizer", "sha": hub_server.COMMIT}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = hub_server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def test_a_tokenizer_on_the_hub_is_pinned_at_its_newest_commit(tmp_path: Path) -> None:
    there, here = tmp_path / "tokenizer.json", tmp_path / "a.txt"
    there.write_bytes(read_json("modernbert"))
    here.write_bytes(b"text")
    mixture = tmp_path / "small.yaml"
    mixture.write_text(
        """\
name: small
chunk: {algorithm: whole-v1, size: 128}
sources: {a: {from: {path: a.txt, decode: {tokenizer: org/tokenizer}}}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""
    )
    command = [sys.executable, "-c", HUB_OF_TOKENIZERS, COMMIT, str(there)]
    with subprocess.Popen(
        command, cwd=REPOSITORY / "tests", stdout=subprocess.PIPE, text=True
    ) as hub:
        assert hub.stdout is not None
        try:
            endpoint = f"http://127.0.0.1:{hub.stdout.readline().strip()}"
            home = str(tmp_path / "home")
            builds.run_well("lock", mixture, cwd=tmp_path, HF_ENDPOINT=endpoint, HF_HOME=home)
        finally:
            hub.terminate()
    assert read_lock(tmp_path / "manifests/small.lock.json").sources["a"].tokenizer == (
        LockedTokenizer(
            name="org/tokenizer", revision=COMMIT, digest=sha256_bytes(there.read_bytes())
        )
    )


def test_what_changed_upstream_is_told_line_by_line(server: Server, folder: Path) -> None:
    mixture = declared(server, folder)
    made = make_lock(mixture, quiet)
    assert check_lock(made, mixture, quiet).changes == []
    commit = server.push("org/a", folder / "b")
    assert check_lock(made, mixture, quiet).changes == [
        f"hub: revision is {commit}, was {server.commit}",
        "hub: data/one/part-0.jsonl is gone",
        f"hub: data/part-1.jsonl is sha256:{sha256_bytes(NEW)}, was sha256:{sha256_bytes(OLD)}",
        "hub: data/part-2.jsonl is new, of 6 bytes",
        f"notes: revision is {commit}, was {server.commit}",
        "notes: notes.json has 4 bytes, had 3",
    ]


def test_a_file_that_is_gone_is_a_line_and_what_else_changed_is_told(
    server: Server, folder: Path
) -> None:
    mixture = declared(server, folder)
    made = make_lock(mixture, quiet)
    gone = server.url("dolma", "books-0001.json.gz")
    fault: Fault = {"kind": "status", "status": 404, "match": "books-0001", "times": -1}
    server.set_faults([fault])
    (folder / "in/a.txt").write_bytes(b"more")
    lines = check_lock(made, mixture, quiet).changes
    assert len(lines) == 2
    assert lines[0].startswith("here: in/a.txt is sha256:")
    assert lines[1].startswith(f"plain: {gone}: got 404")


def test_differences_of_all_else_are_told() -> None:
    old = lock((file(),))
    other = LockedTokenizer(name="x/y", revision=COMMIT, digest="0" * 64)
    rows = StoredFile(path="a.jsonl", num_bytes=7, digest=A_DIGEST, num_rows=3)
    source = LockedSource(
        origin=Origin(hub="org/b", files=("**",)), revision=COMMIT, files=(rows,), tokenizer=other
    )
    new = Lock(name="small", tokenizer=other, algorithms={"chunk": "y-v1"}, sources={"a": source})
    assert differences(old, new) == [
        f"tokenizer is x/y@{COMMIT} of sha256 {'0' * 64}, was modernbert of sha256 {'f' * 64}",
        "algorithms.chunk is y-v1, was none",
        "algorithms.order is none, was x-v1",
        'a: from is {"files":["**"],"hub":"org/b"}, was {"files":["**"],"hub":"org/a"}',
        f"a: tokenizer is x/y@{COMMIT} of sha256 {'0' * 64}, was none",
        "a: a.jsonl has 3 rows, had None",
    ]
    assert differences(old, lock((file(),), name="b")) == ["a: is no longer declared", "b: is new"]


def test_a_source_of_another_origin_is_refused_by_name(server: Server, folder: Path) -> None:
    mixture = declared(server, folder)
    made = make_lock(mixture, quiet)
    check_sources(made, mixture)
    changed = declared(server, folder, MIXTURE.replace("notes.json", "other.json"))
    path = folder / "other.lock.json"
    write_lock(made, path)
    with pytest.raises(InputError) as refused:
        check_sources(read_lock(path), changed)
    told = refused.value.message.splitlines()
    assert re.fullmatch(
        rf"{path}: locks other origins \(fingerprint (\w{{12}})…, those of small have (?!\1).*",
        told[0],
    )
    assert [line.partition(":")[0] for line in told[1:]] == ["sources.notes.from"]
    new = declared(server, folder, MIXTURE.replace("  notes:", "  new:"))
    with pytest.raises(InputError, match=r"the lock of small: .*\nsources\.new: is not locked\n"):
        check_sources(made, new)
    # A source that has left is no reason to lock the others anew.
    check_sources(replace(made, sources={**made.sources, "old": made.sources["here"]}), mixture)
    # How files are read is not what was locked.
    reads = declared(server, folder, MIXTURE.replace("notes.json", "notes.json, text: body"))
    check_sources(made, reads)


def test_a_mixture_that_asks_for_nothing_there_has_no_lock(server: Server, folder: Path) -> None:
    absent = MIXTURE.replace("data/**/*.jsonl", "none/*.jsonl")
    with pytest.raises(InputError, match="none/"):
        make_lock(declared(server, folder, absent), quiet)


def test_files_that_would_share_a_partition_have_no_lock(server: Server, folder: Path) -> None:
    twice = MIXTURE.replace('"in/*.txt"', '["in/*.txt", "in/more/*.txt"]')
    (folder / "in/more").mkdir(exist_ok=True)
    (folder / "in/more/a.txt").write_bytes(b"again")
    with pytest.raises(InputError, match='would both be partition "a"'):
        make_lock(declared(server, folder, twice), quiet)


def test_the_command_writes_checks_and_tells(server: Server, folder: Path, tmp_path: Path) -> None:
    mixture = tmp_path / "small.yaml"
    mixture.write_text(
        MIXTURE.replace("ENDPOINT", server.endpoint).replace("in/*.txt", f"{folder}/in/*.txt")
    )
    out = builds.run_well("lock", mixture, cwd=tmp_path)
    path = tmp_path / default_lock_path("small")
    assert "manifests/small.lock.json: 4 sources, 6 files, 33B; tokenizer modernbert" in out
    assert path.read_bytes() == lock_bytes(make_lock(load_config(mixture), quiet))
    told = builds.run_well("lock", mixture, "--check", cwd=tmp_path)
    assert told == "manifests/small.lock.json: nothing has changed since it was locked\n"

    # A server that cannot be reached is no file that has changed.
    away = server.endpoint.replace("http://", "https://")
    check = builds.run("lock", mixture, "--check", cwd=tmp_path, HF_ENDPOINT=away)
    assert check.returncode == 75
    assert f"cannot reach {away}" in check.stderr

    before = path.read_bytes()
    commit = server.push("org/a", folder / "b")
    check = builds.run("lock", mixture, "--check", "--json", cwd=tmp_path)
    assert check.returncode == 1
    assert json.loads(check.stdout)["changes"][0].startswith(f"hub: revision is {commit}, was")
    assert path.read_bytes() == before

    again = builds.run("lock", mixture, "--json", cwd=tmp_path)
    assert again.returncode == 0
    assert "hub: data/one/part-0.jsonl is gone" in again.stderr
    assert json.loads(again.stdout)["sources"]["hub"] == {
        "from": "hub", "revision": commit, "num_files": 2, "num_bytes": 14, "num_rows": None,
    }  # fmt: skip
    builds.run_well("lock", mixture, "--lock", tmp_path / "other.json", cwd=tmp_path)
    assert (tmp_path / "other.json").read_bytes() == path.read_bytes()
