"""Comparing locks with what origins have now and with what a mixture declares."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config import Mixture, Origin, Replay
from pipeline.core.digest import canonical_json, fingerprint
from pipeline.core.errors import InputError, MismatchError, NetworkError, OutputError
from pipeline.core.progress import ReportProgress
from pipeline.sources.lock.create import make_lock, sources_of
from pipeline.sources.lock.lock import Lock, LockedSource, LockedTokenizer, location_of
from pipeline.sources.lock.lock_file import origin_record
from pipeline.storage import StoredFile

_LOCK_AGAIN = "lock again: ettin-data lock MIXTURE"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockCheck:
    """What has become of the files of a lock."""

    changes: list[str]
    """What has changed since, or can no longer be listed, one line each."""
    unreachable: list[str]
    """What was not checked, since its server cannot be reached, one line each."""


def check_lock(lock: Lock, mixture: Mixture | Replay, report: ReportProgress) -> LockCheck:
    """Compare a lock with all that can be reached of what origins have now."""
    failures: dict[str, InputError] = {}
    found = make_lock(mixture, report, lock, failures.__setitem__)
    lines = {name: f"{name}: {error.message}" for name, error in failures.items()}
    away = {name for name, error in failures.items() if isinstance(error, NetworkError)}
    return LockCheck(
        changes=[
            *differences(lock, found),
            *(line for name, line in lines.items() if name not in away),
        ],
        unreachable=[line for name, line in lines.items() if name in away],
    )


def locked_source(lock: Lock, name: str, origin: Origin) -> LockedSource:
    """Return a source that is locked, with what opens it: the secrets of its addresses."""
    return replace(lock.sources[name], origin=location_of(origin, has_secrets=True))


def check_sources(lock: Lock, mixture: Mixture | Replay) -> None:
    """Insist that a lock is that of a mixture: it has every source, of the same origin.

    It may have more, so that a source can leave a mixture without the others being locked anew.
    Raises: InputError that names the lock, both fingerprints of origins, and each such source.
    """
    declared = {name: location_of(origin) for name, origin in sources_of(mixture).items()}
    locked = {name: source.origin for name, source in lock.sources.items()}
    problems = [
        f"sources.{name}.from: got {_spell(origin)}, expected {_spell(locked[name])} as locked"
        if name in locked
        else f"sources.{name}: is not locked"
        for name, origin in declared.items()
        if locked.get(name) != origin
    ]
    if problems:
        raise InputError(
            f"{lock.where}: locks other origins (fingerprint {_fingerprint(locked)}…, those of "
            f"{mixture.name} have {_fingerprint(declared)}…)\n" + "\n".join(problems),
            f"{_LOCK_AGAIN}, or name the lock of this mixture with --lock",
        )


def check_replaced(lock: Lock, mixture: Mixture | Replay) -> None:
    """Insist that a lock which is to be replaced is no other mixture's.

    It is the mixture's own if it locks the same origins. Origins may change with a mixture, so one
    of its name is its own, too, as long as a source or an origin is left.

    Raises: OutputError, naming both.
    """
    declared = {name: location_of(origin) for name, origin in sources_of(mixture).items()}
    locked = {name: source.origin for name, source in lock.sources.items()}
    shares_any = bool(declared.keys() & locked.keys()) or any(
        origin in locked.values() for origin in declared.values()
    )
    if locked != declared and not (lock.name == mixture.name and (shares_any or not locked)):
        one, two = (
            f"{name} ({', '.join(origins)}; fingerprint {_fingerprint(origins)}…)"
            for name, origins in ((lock.name, locked), (mixture.name, declared))
        )
        raise OutputError(
            f"{lock.where}: is the lock of another mixture, {one}, expected that of {two}",
            "name another file with --lock; remove this one only if nothing needs it",
        )


def _fingerprint(origins: Mapping[str, Origin]) -> str:
    return fingerprint({name: origin_record(one) for name, one in origins.items()})[:12]


def check_tokenizer(locked: LockedTokenizer, digest: str, where: str = "the lock") -> None:
    """Insist on the sha256 of a `tokenizer.json`. Raises: MismatchError; `where` is the lock."""
    if digest != locked.digest:
        raise MismatchError(
            f"{locked.name}: sha256 of tokenizer.json is {digest}, {where} says {locked.digest}",
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
