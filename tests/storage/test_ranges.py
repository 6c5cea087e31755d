"""Ranges and listings from a server process on loopback, in good health and in bad."""

import io
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.order_server import COMMIT, Fault, Server, serve
from support.strategies import QUICK

from pipeline.core.errors import InputError
from pipeline.storage.http import Client
from pipeline.storage.hub import open_hub_folder
from pipeline.storage.ranges import HttpFile, RangeFile
from pipeline.storage.retry import RetryPolicy

FILE = "checkpoint_000001/steps_000001_to_000100.parquet"


OTHER = "checkpoint_000002/steps_000001_to_000100.parquet"


CONTENT = np.random.default_rng(7).bytes(100_000)


READ = {"match": FILE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files of bytes, and one beside them."""
    root = tmp_path_factory.mktemp("repository")
    for name in (FILE, OTHER, "README.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(CONTENT)
    return root


@pytest.fixture(scope="module")
def server_process(folder: Path) -> Iterator[Server]:
    """One server for all tests that need no other settings."""
    with serve(folder) as server:
        yield server


@pytest.fixture
def server(server_process: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server without faults, as the endpoint; no token."""
    server_process.set_faults([])
    server_process.reset()
    at_home(monkeypatch, server_process, tmp_path)
    return server_process


def at_home(monkeypatch: pytest.MonkeyPatch, server: Server, home: Path) -> None:
    """Make a server the endpoint, and let no token be found."""
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_HOME", str(home))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


class Sleeps(list[float]):
    """Waits that were asked for, none of which was waited."""

    def patience(self, *, timeout_seconds: float = 20.0, max_tries: int = 4) -> RetryPolicy:
        return RetryPolicy(sleep=self.append, timeout_seconds=timeout_seconds, max_tries=max_tries)


@pytest.fixture
def sleeps() -> Sleeps:
    """Record waits in place of waiting."""
    return Sleeps()


def opened(server: Server, patience: RetryPolicy | None = None, path: str = FILE) -> RangeFile:
    folder = open_hub_folder(server.where(), patience or RetryPolicy(max_tries=1))
    return folder.file(path)


def file_requests(server: Server) -> list[str]:
    log: list[str] = server.counters()["log"]
    return [line for line in log if "/lfs/" in line]


@QUICK
@given(st.lists(st.tuples(st.integers(0, 120_000), st.integers(0, 5000)), max_size=4))
def test_a_range_file_reads_as_a_file_does(
    server_process: Server, reads: list[tuple[int, int]]
) -> None:
    client = Client(server_process.endpoint)
    url = f"{server_process.endpoint}/datasets/org/order/resolve/{COMMIT}/{FILE}"
    file = HttpFile(client=client, url=url, num_bytes=len(CONTENT), where="x")
    remote, local = RangeFile(file), io.BytesIO(CONTENT)
    for position, size in reads:
        assert remote.seek(position) == local.seek(position)
        assert remote.read(size) == local.read(size)
        assert remote.tell() == local.tell()


def test_what_is_asked_for_is_what_comes(server: Server) -> None:
    file = opened(server)
    server.reset()
    before = file._file.client.num_bytes_read
    file.seek(-500, io.SEEK_END)
    assert file.read() == CONTENT[-500:]
    assert file._file.client.num_bytes_read - before == server.counters()["bytes"] == 500
    assert file.seek(0, io.SEEK_END) == len(CONTENT)
    assert file.read(10) == b""
    assert server.counters()["requests"] == 1


def in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)


IN_A_MINUTE = "in a minute"


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": IN_A_MINUTE}, 30, 60),
        ({"RateLimit": '"resolvers";r=0;t=12'}, 12, 12),
        ({"RateLimit": '"resolvers";r=3;t=12'}, 1, 1),
        ({"Retry-After": "soon"}, 1, 1),
        ({}, 1, 1),
    ],
)
def test_the_wait_that_a_server_asks_for_is_kept(
    server: Server, sleeps: Sleeps, headers: dict[str, str], low: float, high: float
) -> None:
    # Not before, since tests are collected long before they run.
    given = {key: in_a_minute() if one == IN_A_MINUTE else one for key, one in headers.items()}
    server.set_faults([{**READ, "kind": "status", "status": 429, "headers": given}])
    assert opened(server, sleeps.patience()).read() == CONTENT
    assert len(sleeps) == 1
    assert low <= sleeps[0] <= high


def test_what_one_thread_is_told_to_wait_all_threads_wait(server: Server, sleeps: Sleeps) -> None:
    file = opened(server, sleeps.patience())
    server.set_faults([{"kind": "status", "status": 429, "headers": {"Retry-After": "40"}, **READ}])
    with ThreadPoolExecutor(1) as other:
        assert other.submit(file.read, 10).result() == CONTENT[:10]
    assert sleeps == [40.0]
    assert file.read(10) == CONTENT[10:20]
    assert 30.0 < sleeps[1] <= 40.0
    assert len(sleeps) == 2


def test_a_shorter_wait_takes_the_place_of_no_longer_one(server: Server, sleeps: Sleeps) -> None:
    file = opened(server, sleeps.patience())
    told = [{"kind": "status", "status": 429, "headers": {"Retry-After": "40"}, **READ}]
    more = [{"kind": "status", "status": 429, "headers": {"Retry-After": "5"}, **READ}]
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        server.set_faults(told)
        assert one.submit(file.read, 10).result() == CONTENT[:10]
        server.set_faults(more)
        assert other.submit(file.read, 10).result() == CONTENT[10:20]
        assert [round(wait, -1) for wait in sleeps if wait != 5] == [40, 40, 40]
        assert sleeps[2] == 5
        # The first was told of all 40 seconds, and has waited them.
        assert one.submit(file.read, 10).result() == CONTENT[20:30]
        assert len(sleeps) == 4
        assert file.read(10) == CONTENT[30:40]
    assert 30 < sleeps[4] <= 40


def test_what_is_too_long_for_one_thread_is_waited_by_none(server: Server, sleeps: Sleeps) -> None:
    file = opened(server, sleeps.patience())
    for seconds, told in (("9000", "retry delay of 9,000 seconds"), ("40", None)):
        headers = {"Retry-After": seconds}
        server.set_faults([{"kind": "status", "status": 429, "headers": headers, **READ}])
        with ThreadPoolExecutor(1) as other:
            if told is None:
                assert other.submit(file.read, 10).result() == CONTENT[:10]
            else:
                with pytest.raises(InputError, match=told):
                    other.submit(file.read, 10).result()
    assert sleeps == [40.0]
    assert file.read(10) == CONTENT[10:20]
    assert 30.0 < sleeps[1] <= 40.0


def test_waits_double_and_end(server: Server, sleeps: Sleeps) -> None:
    server.set_faults([{**READ, "kind": "status", "status": 503, "times": -1}])
    with pytest.raises(InputError, match="got 503; gave up after 4 tries") as caught:
        opened(server, sleeps.patience()).read()
    assert FILE in str(caught.value)
    assert sleeps == [1, 2, 4]
    assert len(file_requests(server)) == 4


def test_a_wait_that_is_too_long_is_told_and_not_waited(server: Server, sleeps: Sleeps) -> None:
    long = {"Retry-After": "3600"}
    server.set_faults([{**READ, "kind": "status", "status": 429, "headers": long}])
    told = "got 429 with a retry delay of 3,600 seconds, expected at most 300"
    with pytest.raises(InputError, match=told):
        opened(server, sleeps.patience()).read()
    assert sleeps == []


def test_a_range_that_is_cut_goes_on_where_it_ended(server: Server, sleeps: Sleeps) -> None:
    server.set_faults([{**READ, "kind": "cut", "bytes": 30_000, "times": 2}])
    assert opened(server, sleeps.patience()).read() == CONTENT
    counters = server.counters()
    assert (counters["requests"], counters["bytes"]) == (3, len(CONTENT))


def test_a_range_that_is_shorter_than_it_says_is_completed(server: Server, sleeps: Sleeps) -> None:
    server.set_faults([{**READ, "kind": "short", "bytes": 30_000}])
    assert opened(server, sleeps.patience()).read() == CONTENT
    assert sleeps == [1]


def test_a_range_that_is_cut_again_and_again_is_given_up(server: Server, sleeps: Sleeps) -> None:
    server.set_faults([{**READ, "kind": "cut", "bytes": 10, "times": -1}])
    with pytest.raises(
        InputError, match=r"the connection was cut after 10 .*; gave up after 4 tries"
    ):
        opened(server, sleeps.patience()).read()
    assert server.counters()["requests"] == 4


def test_a_server_that_is_silent_is_asked_again(server: Server, sleeps: Sleeps) -> None:
    server.set_faults([{**READ, "kind": "stall", "seconds": 1.5}])
    assert opened(server, sleeps.patience(timeout_seconds=0.5)).read() == CONTENT
    assert sleeps == [1]


def test_a_server_that_drips_is_asked_again(server: Server, sleeps: Sleeps) -> None:
    server.set_faults([{**READ, "kind": "drip", "bytes": 5, "seconds": 0.02}])
    assert opened(server, sleeps.patience(timeout_seconds=0.3)).read() == CONTENT
    assert sleeps == [1]


def test_a_slow_server_is_borne_with(server: Server) -> None:
    server.set_faults([{**READ, "kind": "drip", "bytes": 10_000, "seconds": 0.02}])
    assert opened(server).read() == CONTENT


def test_a_server_without_ranges_is_refused_and_not_read(server: Server) -> None:
    server.set_faults([{**READ, "kind": "ignore_range"}])
    file = opened(server)
    before = file._file.client.num_bytes_read
    with pytest.raises(InputError, match="the server does not support ranges"):
        file.read(10)
    assert file._file.client.num_bytes_read == before


@pytest.mark.parametrize("kind", ["wrong_range", "changed"])
def test_bytes_of_another_range_or_version_are_refused(server: Server, kind: str) -> None:
    server.set_faults([{**READ, "kind": kind, "skip": 1}])
    file = opened(server)
    assert file.read(10) == CONTENT[:10]
    told = {"wrong_range": "got the range 'bytes 11-19/100000', expected 'bytes 10-19/100000'"}
    with pytest.raises(InputError, match=told.get(kind, "got the version .*, expected .* before")):
        file.read(10)


def test_a_file_of_another_length_is_refused(server: Server) -> None:
    url = f"{server.endpoint}/datasets/org/order/resolve/{COMMIT}/{FILE}"
    client = Client(server.endpoint)
    file = RangeFile(HttpFile(client=client, url=url, num_bytes=99_999, where="order"))
    with pytest.raises(InputError, match=r"order: got the range .*/100000', expected .*/99999'"):
        file.read(10)


@pytest.mark.parametrize(
    ("token", "status"), [(None, "401"), ("wrong", "403")], ids=["no token", "another's token"]
)
def test_a_gated_file_says_what_to_accept_and_is_asked_for_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str | None, status: str
) -> None:
    with serve(folder, token="secret", gated=True) as server:
        at_home(monkeypatch, server, tmp_path)
        if token is not None:
            monkeypatch.setenv("HF_TOKEN", token)
        file = opened(server)
        server.reset()
        with pytest.raises(InputError) as caught:
            file.read()
        assert f"got {status} (Access to dataset org/order is restricted.)" in caught.value.message
        assert f"{server.endpoint}/datasets/org/order" in str(caught.value.hint)
        assert "accept its conditions" in str(caught.value.hint)
        assert ("HF_TOKEN" in str(caught.value.hint)) == (token is None)
        assert len(server.counters()["log"]) == 1


def test_a_token_opens_a_repository_and_goes_to_no_other_host(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serve(folder, token="secret") as server:
        at_home(monkeypatch, server, tmp_path)
        with pytest.raises(InputError, match=r"got 401 .*, expected access"):
            opened(server)
        (tmp_path / "token").write_text("secret\n")
        # The other host answers 400 to whoever shows a token.
        assert opened(server).read() == CONTENT
        (tmp_path / "token").write_text("old\n")
        monkeypatch.setenv("HF_TOKEN", "secret")
        assert opened(server).read() == CONTENT


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("hf://datasets/org/other", "hf://datasets/org/other@main: got 401"),
        ("hf://datasets/org/order@v9", "order@v9: got 404 .*: not found"),
        ("hf://datasets/org/order/decay_000001", f"order@{COMMIT}/decay_000001: got 404"),
        ("hf://datasets/org/order/a.parquet", f"order@{COMMIT}/a.parquet: got no such file"),
        ("hf://models/org/order", "got an address of another form, expected hf://datasets/ORG"),
        ("hf://datasets/order", "got an address of another form"),
    ],
)
def test_what_is_not_there_is_told_by_name_and_not_asked_for_again(
    server: Server, sleeps: Sleeps, where: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        open_hub_folder(where, sleeps.patience())
    assert sleeps == []


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_a_listing_is_whole_and_sorted_however_it_is_paged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page_size: int
) -> None:
    with serve(folder, page_size=page_size) as server:
        at_home(monkeypatch, server, tmp_path)
        listed = open_hub_folder(server.where())
        assert list(listed.num_bytes) == ["README.md", FILE, OTHER]
        assert set(listed.num_bytes.values()) == {len(CONTENT)}
        assert listed.where == f"hf://datasets/org/order@{COMMIT}"


@pytest.mark.parametrize("revision", ["v1", "refs%2Fconvert%2Fparquet", COMMIT])
def test_a_revision_stands_for_a_commit(server: Server, revision: str) -> None:
    folder = open_hub_folder(server.where("checkpoint_000002/", revision))
    assert folder.commit == COMMIT
    assert folder.where == f"hf://datasets/org/order@{COMMIT}/checkpoint_000002"
    assert list(folder.num_bytes) == ["steps_000001_to_000100.parquet"]
    assert folder.file("steps_000001_to_000100.parquet").read(5) == CONTENT[:5]


def test_one_file_can_be_named(server: Server) -> None:
    folder = open_hub_folder(server.where(OTHER))
    assert list(folder.num_bytes) == ["steps_000001_to_000100.parquet"]
    assert folder.file("steps_000001_to_000100.parquet").read(5) == CONTENT[:5]


def test_files_that_are_not_redirected_are_read_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serve(folder, lfs=False) as server:
        at_home(monkeypatch, server, tmp_path)
        assert opened(server).read() == CONTENT


def test_a_listing_bears_with_trouble_as_a_range_does(server: Server, sleeps: Sleeps) -> None:
    trouble: Fault = {"match": "/tree/", "kind": "status", "status": 500}
    server.set_faults([{**trouble, "headers": {"Retry-After": "3"}, "times": 2}])
    assert len(open_hub_folder(server.where(), sleeps.patience()).num_bytes) == 3
    assert sleeps == [3, 3]


def test_a_host_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, sleeps: Sleeps) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(
            InputError, match=f"cannot reach {endpoint}: .*refused.*gave up after 2 tries"
        ):
            open_hub_folder("hf://datasets/org/order", sleeps.patience(max_tries=2))
    assert sleeps == [1]


def test_an_endpoint_that_is_no_address_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, sleeps: Sleeps
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hub")
    with pytest.raises(InputError, match="HF_ENDPOINT: got hub, expected an address like"):
        open_hub_folder("hf://datasets/org/order", sleeps.patience())
    assert sleeps == []


@pytest.mark.parametrize("token", ["abc\ndef", "abc\x7f", "naïve", "ключ", "a\u2028b"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str
) -> None:
    told = "got a token with a line break or a letter that is not ASCII"
    (tmp_path / "token").write_text(token)
    with pytest.raises(InputError, match=f"/token: {told}"):
        open_hub_folder(server.where())
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=f"/token: {told}"):
        open_hub_folder(server.where())
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match=f"HF_TOKEN: {told}") as caught:
        open_hub_folder(server.where())
    assert token not in str(caught.value)
    assert server.counters()["log"] == []


@contextmanager
def serve_as_they_are(folder: Path) -> Iterator[str]:
    """Serve files from a process of its own; yield its address."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        port = re.search(r"port (\d+)", process.stdout.readline())
        assert port is not None
        yield f"http://127.0.0.1:{port[1]}"
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_answers_of_what_is_no_hub_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api = tmp_path / "api/datasets/org/order"
    for name in ("revision", "tree"):
        (api / name).mkdir(parents=True)
    patience = RetryPolicy(max_tries=1)
    with serve_as_they_are(tmp_path) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        for said in ("{}", "[1]", "null", '{"sha": 7}', '{"sha": "../../etc"}'):
            (api / "revision/main").write_text(said)
            told = re.escape(f"order@main: got {said} from {endpoint}, expected its commit")
            with pytest.raises(InputError, match=told) as caught:
                open_hub_folder("hf://datasets/org/order", patience)
            assert "not a Hub server" in str(caught.value.hint)
        (api / "revision/main").write_text(f'{{"sha": "{COMMIT}"}}')
        for said in (
            "{}", "[1]", "null", '"x"', '[{"type": "file"}]',
            '[{"type": "file", "path": "a", "size": "7", "oid": "0"}]',
            '[{"type": "file", "path": "a", "size": 7, "oid": "0", "lfs": {"size": 7}}]',
            f"[{'1, ' * 100}1]",
            f'[{{"type": "file", "path": "a", "size": -7, "oid": "{COMMIT}"}}]',
            '[{"type": "file", "path": "a", "size": 7, "oid": "not a digest"}]',
        ):  # fmt: skip
            (api / "tree" / COMMIT).write_text(said)
            told = f"order@{COMMIT}: got {re.escape(said[:50])}.* expected a list of its files"
            with pytest.raises(InputError, match=told) as caught:
                open_hub_folder("hf://datasets/org/order", patience)
            assert len(caught.value.message) < 400
        (api / "tree" / COMMIT).write_text(
            f'[{{"type": "file", "path": "a", "size": 7, "oid": "{COMMIT}"}}]'
        )
        assert open_hub_folder("hf://datasets/org/order", patience).num_bytes == {"a": 7}


def test_a_proxy_that_the_environment_names_is_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("http_proxy", server.endpoint)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert len(open_hub_folder(server.where()).num_bytes) == 3
    assert (
        "GET http://hub.invalid/api/datasets/org/order/revision/main 200"
        in (server.counters()["log"])
    )


def test_the_stand_in_speaks_to_the_client_library_as_it_does_to_us(server: Server) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    api = hub.HfApi(endpoint=server.endpoint, token=False)
    assert api.dataset_info("org/order", revision="v1").sha == COMMIT
    tree = api.list_repo_tree("org/order", recursive=True, repo_type="dataset", revision=COMMIT)
    files = {entry.path: entry.size for entry in tree if isinstance(entry, hub.RepoFile)}
    assert files == open_hub_folder(server.where()).num_bytes
