"""Comparing locks with what origins have now and with what a mixture declares."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline.config import Mixture, Origin, Replay
from pipeline.core.digest import canonical_json
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.progress import ReportProgress
from pipeline.sources.lock.create import make_lock, sources_of
from pipeline.sources.lock.lock import Lock, LockedSource, LockedTokenizer, location_of
from pipeline.sources.lock.lock_file import origin_record
from pipeline.storage import StoredFile

_LOCK_AGAIN = "lock again: ettin-data lock MIXTURE"


def check_lock(lock: Lock, mixture: Mixture | Replay, report: ReportProgress) -> list[str]:
    """Return what has changed since it was locked, or can no longer be listed, one line each."""
    failures: dict[str, InputError] = {}
    found = make_lock(mixture, report, failures.__setitem__)
    kept = {name: lock.sources[name] for name in failures if name in lock.sources}
    lines = differences(lock, replace(found, sources={**found.sources, **kept}))
    return lines + [f"{name}: {error.message}" for name, error in failures.items()]


def locked_source(lock: Lock, name: str, origin: Origin) -> LockedSource:
    """Return the locked source, with what the mixture needs to open it: secrets of its addresses.

    Raises: InputError when there is none, or of another origin.
    """
    locked = lock.sources.get(name)
    if locked is None:
        known = ", ".join(lock.sources)
        raise InputError(
            f"sources.{name}: is not in the lock of {lock.name}, which has {known}", _LOCK_AGAIN
        )
    if locked.origin != location_of(origin):
        was, now = _spell(locked.origin), _spell(location_of(origin))
        raise InputError(f"sources.{name}.from: got {now}, expected {was} as locked", _LOCK_AGAIN)
    return replace(locked, origin=location_of(origin, has_secrets=True))


def check_sources(lock: Lock, mixture: Mixture | Replay) -> None:
    """Insist that every source of a mixture is in a lock as declared. Raises: InputError."""
    for name, origin in sources_of(mixture).items():
        locked_source(lock, name, origin)


def check_tokenizer(locked: LockedTokenizer, digest: str) -> None:
    """Insist on the sha256 of a `tokenizer.json`. Raises: MismatchError."""
    if digest != locked.digest:
        raise MismatchError(
            f"{locked.name}: sha256 of tokenizer.json is {digest}, the lock says {locked.digest}",
            "restore the locked one, or lock again",
        )


def differences(old: Lock, new: Lock) -> list[str]:
    """Return what two locks differ in, one line each, sorted by source and file. Pure."""
    before, after = (
        {f"algorithms.{name}": algorithm for name, algorithm in lock.algorithms.items()}
        for lock in (old, new)
    )
    return [
        *_changed("tokenizer", old.tokenizer, new.tokenizer),
        *_by_name(before, after, _changed),
        *_by_name(old.sources, new.sources, _changed_source),
    ]


def _by_name(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    compare: Callable[[str, Any, Any], Iterator[str]],
) -> Iterator[str]:
    for name in sorted({*old, *new}):
        yield from compare(name, old.get(name), new.get(name))


def _changed_source(name: str, old: LockedSource | None, new: LockedSource | None) -> Iterator[str]:
    if old is None or new is None:
        yield f"{name}: is {'new' if old is None else 'no longer declared'}"
        return
    yield from _changed(f"{name}: from", old.origin, new.origin)
    yield from _changed(f"{name}: revision", old.revision, new.revision)
    yield from _changed(f"{name}: tokenizer", old.tokenizer, new.tokenizer)
    before, after = ({f"{name}: {file.path}": file for file in one.files} for one in (old, new))
    yield from _by_name(before, after, _changed_file)


def _changed_file(where: str, old: StoredFile | None, new: StoredFile | None) -> Iterator[str]:
    if new is None:
        yield f"{where} is gone"
    elif old is None:
        yield f"{where} is new, of {new.num_bytes:,} bytes"
    elif old.num_bytes != new.num_bytes:
        yield f"{where} has {new.num_bytes:,} bytes, had {old.num_bytes:,}"
    elif old.digest != new.digest:
        yield f"{where} is {new.digest}, was {old.digest}"
    elif old.num_rows != new.num_rows:
        yield f"{where} has {new.num_rows} rows, had {old.num_rows}"


def _changed(where: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{where} is {_spell(new)}, was {_spell(old)}"


def _spell(value: object) -> str:
    if isinstance(value, LockedTokenizer):
        at = f"@{value.revision}" if value.revision else ""
        return f"{value.name}{at} of sha256 {value.digest}"
    if isinstance(value, Origin):
        text = canonical_json(origin_record(value)).decode()
        return text if len(text) <= 200 else f"{text[:200]}…"
    return "none" if value is None else str(value)
