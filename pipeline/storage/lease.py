"""Lease: an object that says who works in a place of a store, by conditional writes.

Its holder renews it; one that was not renewed for long may be taken over. What is old is judged by
the clock of the store, so those of machines need not agree.
"""

import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from pipeline.core.errors import OutputError, PipelineError
from pipeline.storage.writable_store import ChangedError, StoredObject, WritableStore

LEASE: Final = ".ettin/lease"
SECONDS = 60.0
"""How long a holder that died keeps others out."""
_RENEWALS: Final = 4


@contextmanager
def holding(store: WritableStore) -> Iterator[str]:
    """Hold the lease of a place; yield its token, for `check_held`.

    Raises: OutputError when another holds it, or the store does not take conditions.
    """
    token, seconds = uuid.uuid4().hex, SECONDS
    version = _acquire(store, token, seconds)
    stopped = threading.Event()
    renewing = threading.Thread(
        target=_renew, args=(store, token, version, seconds, stopped), daemon=True
    )
    renewing.start()
    try:
        yield token
    finally:
        stopped.set()
        renewing.join()
        # One that another has taken over is left to it; a store that is away forgets ours later.
        with suppress(PipelineError):
            if _token(store.get(LEASE)) == token:
                store.delete([LEASE])


def check_held(store: WritableStore, token: str) -> None:
    """Insist that the lease is still ours. Raises: OutputError."""
    found = store.get(LEASE)
    if _token(found) != token:
        raise OutputError(
            f"{store.address}: this build has lost its lease"
            + (f" to one {_holder(found)}" if found else "")
            + ", as when it could not reach the store for a while",
            "let the other end, then run the same command again: finished work is kept",
        )


def _acquire(store: WritableStore, token: str, seconds: float) -> str:
    """Take the lease, or take it over from one that died; return its version."""
    data = _describe(token)
    try:
        version = store.put_if_absent(LEASE, data)
    except ChangedError:
        own = _own_version(store, token)
        return _take_over(store, token, data, seconds) if own is None else own
    with suppress(ChangedError):
        store.put_if_absent(LEASE, data)
        store.delete([LEASE])
        raise OutputError(
            f"{store.address}: the store writes over an object where it was asked not to, expected"
            " one with conditional writes",
            "two builds would not notice each other there: choose another store, or a later version"
            " of its software",
        )
    return version


def _take_over(store: WritableStore, token: str, data: bytes, seconds: float) -> str:
    held = store.head(LEASE)
    if held is None:
        return _acquire(store, token, seconds)
    left = seconds - _age(store, held)
    if left > 0:
        raise OutputError(
            f"{store.address}: another build is running here, {_holder(store.get(LEASE))}",
            f"wait for it, or choose another --out; if it has died, its lease ends in {left:.0f} s",
        )
    try:
        return store.put_if(LEASE, data, held.version)
    except ChangedError as error:
        if (version := _own_version(store, token)) is not None:
            return version
        raise OutputError(
            f"{store.address}: another build has just started here",
            "wait for it, or choose another --out",
        ) from error


def _own_version(store: WritableStore, token: str) -> str | None:
    """Return the version of a lease that is ours, as when only the answer to a write was lost."""
    held = store.head(LEASE)
    return held.version if held is not None and _token(store.get(LEASE)) == token else None


def _renew(
    store: WritableStore, token: str, version: str, seconds: float, stopped: threading.Event
) -> None:
    while not stopped.wait(seconds / _RENEWALS):
        with suppress(PipelineError):  # The next time may be early enough.
            try:
                version = store.put_if(LEASE, _describe(token), version)
            except ChangedError:
                own = _own_version(store, token)
                if own is None:
                    return  # `check_held` finds it out.
                version = own


def _age(store: WritableStore, held: StoredObject) -> float:
    """Return the seconds since an object was written, by the store's clock."""
    name = f"{LEASE}-{uuid.uuid4().hex}"
    store.put(name, b"")
    now = store.head(name)
    store.delete([name])
    return 0.0 if now is None else (now.modified - held.modified).total_seconds()


def _describe(token: str) -> bytes:
    # Not twice the same, so that each renewal is another version by its bytes, too.
    about = {"token": token, "host": socket.gethostname(), "pid": os.getpid()}
    return json.dumps({**about, "renewal": uuid.uuid4().hex}).encode()


def _read(data: bytes | None) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(data or b"")
        if isinstance(found, dict):
            return found
    return {}


def _token(data: bytes | None) -> object:
    return _read(data).get("token")


def _holder(data: bytes | None) -> str:
    about = _read(data)
    return f"on {about.get('host')} (process {about.get('pid')})"
