"""Comparing locks: what an origin has now with what it had, and what is declared with both."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipeline.config import Mixture, Origin, Replay
from pipeline.core.digest import canonical_json
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.progress import ReportProgress
from pipeline.sources.lock.create import make_lock, sources_of
from pipeline.sources.lock.entries import Lock, LockedSource, LockedTokenizer, located
from pipeline.sources.lock.lock_file import spell_origin
from pipeline.storage import StoredFile

_LOCK_AGAIN = "lock again: ettin-data lock MIXTURE"


def check_lock(lock: Lock, mixture: Mixture | Replay, report: ReportProgress) -> list[str]:
    """Return what is not as it was locked, one line each.

    A source that cannot be listed any more, such as one with a file that is gone, is a line, too.
    """
    troubles: dict[str, InputError] = {}
    found = make_lock(mixture, report, troubles.__setitem__)
    kept = {name: lock.sources[name] for name in troubles if name in lock.sources}
    lines = differences(lock, replace(found, sources={**found.sources, **kept}))
    return lines + [f"{name}: {error.message}" for name, error in troubles.items()]


def locked_source(lock: Lock, name: str, origin: Origin) -> LockedSource:
    """Return what was locked of a source. Raises: InputError when it is of another origin."""
    locked = lock.sources.get(name)
    if locked is None:
        known = ", ".join(lock.sources)
        raise InputError(
            f"sources.{name}: is not in the lock of {lock.name}, which has {known}", _LOCK_AGAIN
        )
    if locked.origin != located(origin):
        was, now = (_brief(spell_origin(one)) for one in (locked.origin, located(origin)))
        raise InputError(f"sources.{name}.from: is {now}, and {was} was locked", _LOCK_AGAIN)
    return locked


def check_sources(lock: Lock, mixture: Mixture | Replay) -> None:
    """Insist that every source of a mixture is in a lock as declared. Raises: InputError."""
    for name, origin in sources_of(mixture).items():
        locked_source(lock, name, origin)


def check_tokenizer(locked: LockedTokenizer, digest: str) -> None:
    """Insist on the sha256 of a `tokenizer.json`. Raises: MismatchError."""
    if digest != locked.digest:
        raise MismatchError(
            f"{locked.name}: sha256 of tokenizer.json is {digest}, the lock says {locked.digest}",
            "put back the one that was locked, or lock again",
        )


def differences(old: Lock, new: Lock) -> list[str]:
    """Return what two locks differ in, one line each, sorted by source and file. Pure."""
    lines = list(_differing_values("tokenizer", old.tokenizer, new.tokenizer))
    lines += _differing(old.algorithms, new.algorithms, "algorithms")
    for name in sorted({*old.sources, *new.sources}):
        before, after = old.sources.get(name), new.sources.get(name)
        if before is None or after is None:
            lines.append(f"{name}: is {'new' if before is None else 'no longer declared'}")
        else:
            lines += _differing_sources(name, before, after)
    return lines


def _differing_sources(name: str, old: LockedSource, new: LockedSource) -> Iterator[str]:
    if old.origin != new.origin:
        was, now = (_brief(spell_origin(one)) for one in (old.origin, new.origin))
        yield f"{name}: from is {now}, was {was}"
    yield from _differing_values(f"{name}: revision", old.revision, new.revision)
    yield from _differing_values(f"{name}: tokenizer", old.tokenizer, new.tokenizer)
    before, after = ({file.path: file for file in one.files} for one in (old, new))
    for path in sorted({*before, *after}):
        if path not in after:
            yield f"{name}: {path} is gone"
        elif path not in before:
            yield f"{name}: {path} is new, of {after[path].num_bytes:,} bytes"
        else:
            yield from _differing_files(f"{name}: {path}", before[path], after[path])


def _differing_files(where: str, old: StoredFile, new: StoredFile) -> Iterator[str]:
    if old.num_bytes != new.num_bytes:
        yield f"{where} has {new.num_bytes:,} bytes, had {old.num_bytes:,}"
    elif old.digest != new.digest:
        yield f"{where} is {new.digest}, was {old.digest}"
    elif old.num_rows != new.num_rows:
        yield f"{where} has {new.num_rows} rows, had {old.num_rows}"


def _differing(old: Mapping[str, str], new: Mapping[str, str], where: str) -> Iterator[str]:
    for name in sorted({*old, *new}):
        yield from _differing_values(f"{where}.{name}", old.get(name), new.get(name))


def _differing_values(where: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{where} is {_told(new)}, was {_told(old)}"


def _told(value: object) -> str:
    if isinstance(value, LockedTokenizer):
        at = f"@{value.revision}" if value.revision else ""
        return f"{value.name}{at} of sha256 {value.digest}"
    return "none" if value is None else str(value)


def _brief(content: object) -> str:
    spelled = canonical_json(content).decode()
    return spelled if len(spelled) <= 200 else f"{spelled[:200]}…"
