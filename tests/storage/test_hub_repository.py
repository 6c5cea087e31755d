"""Beginnings of files and lists of a data set that is named without asking for its commit."""

from pathlib import Path

import pytest
from support.source_server import serve

from pipeline.core.errors import InputError
from pipeline.storage import HubRepository, MissingError, RetryPolicy, parse_hub_address

ONE_TRY = RetryPolicy(max_tries=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "large.bin").write_bytes(bytes(range(256)) * 4000)
    (tmp_path / "a" / "small.json").write_text("{}")
    return tmp_path


def test_a_beginning_takes_one_request_and_its_bytes_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"org/name": folder}, lfs=False) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        repository = HubRepository.named("org/name")
        assert repository.first_bytes("a/large.bin", 1000) == (bytes(range(256)) * 4)[:1000]
        assert repository.first_bytes("a/small.json", 1000) == b"{}"
        assert repository.client.num_bytes_read == server.counters()["bytes"] == 1002
        assert len(server.log()) == 2
        page = f"{server.endpoint}/datasets/org/name"
        assert repository.url("a/b c") == f"{page}/resolve/main/a/b%20c"


def test_a_server_without_ranges_is_left_and_asked_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"org/name": folder}, lfs=False) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        server.set_faults([{"kind": "ignore_range", "times": -1}])
        repository = HubRepository.named("org/name", retry=ONE_TRY)
        for _ in range(3):
            assert repository.first_bytes("a/large.bin", 300) == (bytes(range(256)) * 2)[:300]
        assert repository.client.num_bytes_read == 900


def test_a_list_has_files_and_folders_and_a_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"org/name": folder}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        repository = HubRepository.named("org/name")
        assert repository.first_names("", 1000) == ["a"]
        assert sorted(repository.first_names("a", 1000)) == ["a/large.bin", "a/small.json"]
        with pytest.raises(InputError, match="main/a: got more than 100 bytes of JSON"):
            repository.first_names("a", 100)
        with pytest.raises(MissingError, match="main/b: got 404"):
            repository.first_names("b", 1000)


def test_addresses_have_a_data_set_a_revision_and_a_path() -> None:
    assert parse_hub_address("hf://datasets/a/b@refs%2Fpr%2F1/c/d") == ("a/b", "refs/pr/1", "c/d")
    assert parse_hub_address("hf://datasets/a/b") == ("a/b", "main", "")
    with pytest.raises(InputError, match="got an address of another form"):
        parse_hub_address("hf://a/b")
