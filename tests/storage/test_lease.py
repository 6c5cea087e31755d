"""The lease of a place in a store: one holds it, and one that died is followed by another."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from support.store_server import serve_store

from pipeline.core.errors import NetworkError, OutputError
from pipeline.storage import lease
from pipeline.storage.lease import LEASE, check_held, holding
from pipeline.storage.writable_store import WritableStore

SECONDS = 3.0


@pytest.fixture(scope="module", autouse=True)
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with serve_store(tmp_path_factory.mktemp("store"), "bucket"):
        yield


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> WritableStore:
    monkeypatch.setattr(lease, "SECONDS", SECONDS)
    return WritableStore(f"s3://bucket/{request.node.originalname}")


def test_one_holds_a_place_for_as_long_as_it_lives(store: WritableStore) -> None:
    busy = rf"{store.address}: another build is running here, on \S+ \(process {os.getpid()}\)\n"
    with holding(store) as token:
        stop = time.monotonic() + 2 * SECONDS
        while time.monotonic() < stop:
            with pytest.raises(OutputError, match=busy + "hint: wait for it, or .*, its lease e"):
                holding(store).__enter__()
            check_held(store, token)
            time.sleep(SECONDS / 4)
    assert store.list() == {}
    with holding(store):
        assert [*store.list()] == [LEASE]


def test_one_that_died_is_followed_by_another_and_is_told_if_it_lives(
    store: WritableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_renew", lambda *_: None)
    first = holding(store)
    token = first.__enter__()
    check_held(store, token)
    time.sleep(SECONDS + 1)
    with holding(store) as other:
        check_held(store, other)
        with pytest.raises(OutputError, match=r"this build has lost its lease to one on .*\nhint"):
            check_held(store, token)
        # It leaves what is not its own.
        first.__exit__(None, None, None)
        check_held(store, other)


def test_of_many_that_follow_at_once_one_wins(
    store: WritableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_renew", lambda *_: None)
    died = holding(store)
    died.__enter__()
    monkeypatch.setattr(lease, "_age", lambda *_: 2 * SECONDS)
    followers = [holding(store) for _ in range(4)]
    tokens, told = [], []

    def follow(one: AbstractContextManager[str]) -> None:
        try:
            tokens.append(one.__enter__())
        except OutputError as error:
            told.append(error.message)

    together = threading.Barrier(4, timeout=30)
    real = store.put_if
    monkeypatch.setattr(
        store, "put_if", lambda *given: (together.wait(), real(*given))[1], raising=True
    )
    threads = [threading.Thread(target=follow, args=(one,)) for one in followers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(tokens), len(told)) == (1, 3)
    assert {one.partition(": ")[2] for one in told} == {"another build has just started here"}


def test_a_renewal_that_finds_no_store_is_tried_again(
    store: WritableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only the look at who holds it fails, after an answer was lost."""
    real, renewed = store.put_if, list[str]()

    def put_if(name: str, data: bytes, version: str) -> str:
        if not renewed:
            real(name, data, version)
        renewed.append(real(name, data, version))
        return renewed[-1]

    def head(name: str) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(lease, "SECONDS", SECONDS)
        raise NetworkError("got no store")

    with holding(store) as token:
        monkeypatch.setattr(store, "put_if", put_if)
        monkeypatch.setattr(store, "head", head)
        time.sleep(2 * SECONDS)
        check_held(store, token)
        version = store.get(LEASE)
        time.sleep(SECONDS / 2)
        assert store.get(LEASE) != version


@pytest.mark.parametrize("write", ["put_if_absent", "put_if"])
def test_a_write_whose_answer_was_lost_holds(
    write: str, store: WritableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_renew", lambda *_: None)
    died = holding(store)
    if write == "put_if":
        died.__enter__()
        monkeypatch.setattr(lease, "_age", lambda *_: 2 * SECONDS)
    real = getattr(store, write)

    def twice(*given: Any) -> str:
        real(*given)
        return str(real(*given))

    monkeypatch.setattr(store, write, twice)
    with holding(store) as token:
        monkeypatch.setattr(store, write, real)
        check_held(store, token)
    assert store.list() == {}


def test_a_store_without_conditions_is_refused(
    store: WritableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "put_if_absent", store.put)
    with pytest.raises(OutputError, match="the store writes over an object where it was asked not"):
        holding(store).__enter__()
    assert store.list() == {}
