"""Output lock: an output folder belongs to one mixture, and to one build at a time."""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path

from pipeline.config import Mixture
from pipeline.core.digest import FileDigest
from pipeline.core.errors import MismatchError, OutputError, PipelineError
from pipeline.core.files import publish, refuse_links, sync_entry, writing
from pipeline.core.json_record import Absent, parse_json
from pipeline.core.mirrored import mirror_of, remove_file
from pipeline.dataset import (
    DROPPED,
    MANIFEST,
    ORDER,
    PARTIAL,
    POOL_PLACE,
    PROVENANCE,
    STATE,
    STEPS,
    TOKENIZER,
    TRAIN,
    VALIDATION,
    Manifest,
    MixtureRecord,
    OrderRecord,
    PartialManifest,
    PartitionCounts,
    PartitionRecord,
    State,
    TokenizerRecord,
    is_build_folder,
    manifest_pieces,
    output_above,
    partial_bytes,
    read_manifest,
    read_partial,
)
from pipeline.dataset.parquet import read_origin
from pipeline.runner.chunk_cache import ENTRIES
from pipeline.runner.folder_lock import open_lock, running_parts, take
from pipeline.runner.task_cache import PartitionOutput
from pipeline.sources import Lock, lock_digest
from pipeline.stages.tokenizer import Tokenizer
from pipeline.version import VERSION

_LOG = logging.getLogger(__name__)
_FOLDERS = (TRAIN, ORDER, PROVENANCE, VALIDATION, DROPPED)


@contextmanager
def lock_output(
    out: Path, fingerprint: str, *, updates: bool = False, adds_to_finished: bool = False
) -> Iterator[State]:
    """Hold an output folder for the build of this fingerprint.

    A build that fails before it has made anything leaves the folder to any other. What has been
    made stays where it fails, and in a finished output too if the caller adds to it.

    updates: whether it may hold the build of another one.

    Raises: OutputError when the folder holds anything else, its state is linked elsewhere, or
    another build runs in it.
    """
    state = State(out=out)
    is_new = not out.exists()
    check_folder(state, fingerprint, updates=updates)
    with open_lock(state, state.lock) as lock:
        if not take(lock, state.lock):
            raise _busy(state)
        claim(state, fingerprint)
        try:
            yield state
        except BaseException:
            is_finished = (out / MANIFEST).exists() or (out / PARTIAL).exists()
            is_kept = _has_records(state) if adds_to_finished else not is_finished
            if state.root.exists() and not (is_kept and _has_work(state)):
                # Nothing was started or made, or everything is finished.
                with suppress(OSError, PipelineError):
                    release(state)
                if is_new:
                    with suppress(OSError):
                        out.rmdir()
            raise


def check_folder(state: State, fingerprint: str, *, updates: bool = False) -> None:
    """Insist that a build of this fingerprint may use a folder.

    updates: whether it may hold the build of another one.

    Raises: OutputError when it holds anything else, or its state is linked elsewhere.
    """
    _check_owner(state, fingerprint, updates=updates)
    _refuse_links(state)


def claim(state: State, fingerprint: str) -> None:
    """Begin the work of a build that holds the folder alone."""
    with writing(state.out):
        _clear_scratch(state)
    with publish(state.owner, state.scratch) as temporary:
        temporary.write_text(json.dumps({"fingerprint": fingerprint}))
    if (mirror := mirror_of(state.out)) is not None:
        mirror.save([state.owner])


def refuse_nested(out: Path, cache: Path | str | None = None) -> None:
    """Refuse an output inside another, whose next build would remove it, and such a cache.

    Raises: OutputError, also for a path that is not UTF-8, which pyarrow cannot open.
    """
    try:
        str(out.absolute()).encode()
    except UnicodeEncodeError as error:
        raise OutputError(
            f"--out {out}: got a path that is not UTF-8", "choose another --out"
        ) from error
    for parent in out.resolve().parents:
        if is_build_folder(parent):
            raise OutputError(
                f"--out {out}: lies in {parent}, the output of a build",
                "choose an --out outside of it",
            )
    above = None if cache is None else _output_above(cache, out)
    if above is not None:
        raise OutputError(
            f"--cache {cache}: lies in {above}, the output of a build",
            "choose a --cache outside of it",
        )


def _output_above(cache: Path | str, out: Path) -> Path | str | None:
    """Return the output that a cache is or lies in, `out` or any other. Raises: OutputError."""
    if isinstance(cache, str):
        mirror = mirror_of(out)
        if mirror is not None and f"{cache}/".startswith(f"{mirror.address}/"):
            return mirror.address
        return output_above(f"{cache}/{ENTRIES}")
    if cache.exists() and not cache.is_dir():
        raise OutputError(f"--cache {cache}: got a file, expected a folder")
    folders = (cache.resolve(), *cache.resolve().parents)
    return next((one for one in folders if is_build_folder(one) or one == out.resolve()), None)


def _has_work(state: State) -> bool:
    """Return whether a task has left a record, or any file of the product is there."""
    return _has_records(state) or _has_files(state)


def _has_records(state: State) -> bool:
    if (mirror := mirror_of(state.out)) is not None:
        # They are of whichever machine ran the task.
        return any(mirror.sizes(state.records))
    return any(path.is_file() for path in state.records.rglob("*"))


def _has_files(state: State) -> bool:
    """Return whether there is any file but those of the state; a failed build leaves folders."""
    if (mirror := mirror_of(state.out)) is not None:
        return any(STATE not in Path(one).parts for one in mirror.sizes(state.out))
    return any(
        STATE not in path.relative_to(state.out).parts
        for path in state.out.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )


def _refuse_links(state: State) -> None:
    """Insist that the state is a folder of ours, and so is all in it. Raises: OutputError."""
    refuse_links(state.out, state.root)
    refuse_links(state.out, state.out / VALIDATION)
    for folder, folders, files in os.walk(state.root):
        for name in (*folders, *files):
            if os.path.islink(os.path.join(folder, name)):
                refuse_links(state.out, Path(folder, name))


def describe_mixture(mixture: Mixture) -> MixtureRecord:
    """Return a mixture as the manifest stores it."""
    return MixtureRecord(
        name=mixture.name,
        fingerprint=mixture.fingerprint,
        declaration=mixture.declaration(),
        overrides=tuple(mixture.overrides),
    )


def describe_tokenizer(tokenizer: Tokenizer) -> TokenizerRecord:
    """Return a tokenizer as the manifest stores it."""
    return TokenizerRecord(
        name=tokenizer.name,
        sha256=tokenizer.digest,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
    )


def without_digests(record: PartitionOutput) -> PartitionRecord:
    """Return a partition as the manifest stores it, which lists the digests of all files once."""
    facts = {field.name: getattr(record, field.name) for field in fields(PartitionCounts)}
    return PartitionRecord(**facts, files=tuple(sorted(record.files)))


def make_manifest(
    mixture: MixtureRecord,
    lock: Lock | None,
    tokenizer: Tokenizer,
    order: OrderRecord,
    files: Mapping[str, FileDigest],
) -> Manifest:
    """Return the manifest of an output without sources."""
    return Manifest(
        code=f"ettin-data {VERSION}",
        mixture=mixture,
        lock=None if lock is None else lock_digest(lock),
        tokenizer=describe_tokenizer(tokenizer),
        sources={},
        order=order,
        files=files,
    )


def finish(state: State, manifest: Manifest) -> Manifest:
    """Write the manifest, end the work and return it."""
    pool = manifest.order.pool
    place = () if isinstance(pool, Absent) or pool.folder is not None else (POOL_PLACE,)
    _finish(state, MANIFEST, manifest_pieces(manifest), manifest.files, place)
    return manifest


def finish_partial(state: State, manifest: PartialManifest) -> PartialManifest:
    """Write the record of partitions that were built alone, end the work and return it."""
    _finish(state, PARTIAL, [partial_bytes(manifest)], manifest.files)
    return manifest


def _finish(
    state: State,
    name: str,
    pieces: Iterable[bytes],
    files: Mapping[str, FileDigest],
    beside: Collection[str] = (),
) -> None:
    known = {*files, *beside}
    with writing(state.out):
        _remove_unknown(state.out, known)
        with publish(state.out / name, state.scratch) as temporary, temporary.open("wb") as file:
            file.writelines(pieces)
        if (mirror := mirror_of(state.out)) is not None:
            strangers = {path for path in mirror.sizes(state.out) if _is_stranger(path, known)}
            mirror.remove(*(state.out / path for path in sorted(strangers)))
            sizes = {path: file.num_bytes for path, file in files.items()}
            sizes |= {path: (state.out / path).stat().st_size for path in beside}
            try:
                mirror.finish(state.out, state.out / name, sizes)
            except BaseException:
                # Where the store has none, the build is not finished, and its state stays.
                (state.out / name).unlink()
                raise
        release(state)


def _is_stranger(path: str, known: Collection[str]) -> bool:
    top, *_ = parts = path.split("/")
    return top in (*_FOLDERS, TOKENIZER) and STATE not in parts and path not in known


def _remove_unknown(out: Path, known: Collection[str]) -> None:
    """Remove files of an earlier build that are not in the manifest, and folders left empty."""
    changed: set[str] = set()
    if TOKENIZER not in known and (out / TOKENIZER).is_file():
        remove_file(out / TOKENIZER)
        changed.add(str(out))
    for top in (out / name for name in _FOLDERS):
        # What a link points to is not ours.
        for folder, folders, names in [] if top.is_symlink() else os.walk(top, topdown=False):
            links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
            below = Path(folder).relative_to(out).as_posix()
            for name in (*names, *links):
                path = f"{below}/{name}"
                # A folder that was moved and linked stays.
                is_known = path in known or (
                    os.path.islink(out / path) and any(one.startswith(f"{path}/") for one in known)
                )
                if not is_known:
                    os.unlink(out / path)
                    changed.add(folder)
            if not os.listdir(folder):
                os.rmdir(folder)
                changed.add(os.path.dirname(folder))
    for folder in sorted(changed):
        if os.path.exists(folder):
            sync_entry(Path(folder))


def release(state: State) -> None:
    """Remove the state of a finished build: the lock last, so that no build starts before.

    What cannot be removed is warned of, since a worker that was lost may still write there.
    """
    if (mirror := mirror_of(state.out)) is not None:
        mirror.remove_below(state.root)
    left: list[str] = []

    def note(_: object, path: str, error: tuple[type, BaseException, object]) -> None:
        if not isinstance(error[1], FileNotFoundError):
            left.append(path)

    for path in state.root.iterdir():
        if path.is_dir():
            shutil.rmtree(path, onerror=note)
        elif path != state.lock:
            path.unlink()
    state.lock.unlink()
    with suppress(OSError):  # From now on another build may run here.
        state.root.rmdir()
    if left:
        _LOG.warning(
            "%s and %d more cannot be removed: run the same command again, or remove %s; until "
            "then verify reports them",
            *(left[0], len(left) - 1, state.root),
        )


def _busy(state: State) -> OutputError:
    parts = running_parts(state)
    who = f"{' and '.join(parts)} of a build is" if parts else "another build is"
    return OutputError(f"{state.out}: {who} running here", "wait for it, or choose another --out")


def _clear_scratch(state: State) -> None:
    # Renamed first: a task of a killed build that still runs on a user's cluster then has nothing
    # left to publish.
    stale = state.root / "stale"
    stale.mkdir(exist_ok=True)
    if state.scratch.exists():
        state.scratch.rename(stale / uuid.uuid4().hex)
    shutil.rmtree(stale, ignore_errors=True)


def _check_owner(state: State, fingerprint: str, *, updates: bool) -> None:
    out = state.out
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: got a file, expected a folder", "choose another --out")
    found = owner_of(state)
    if found == fingerprint or (found is not None and updates):
        return
    if found is not None:
        if not _has_work(state):
            # Left by a build that was killed before it made anything.
            return
        if (out / PARTIAL).is_file():
            raise OutputError(
                f"{out}: holds partitions that were built alone, others or of another mixture"
                f" ({PARTIAL})",
                "choose another --out, or keep what still stands of it with --update",
            )
        raise OutputError(
            f"{out}: holds another mixture, or other partitions of this one (fingerprint "
            f"{found[:12]}…, expected {fingerprint[:12]}…)",
            "choose another --out, or keep what still stands of it with --update",
        )
    if _has_files(state):
        raise OutputError(
            f"{out}: is not empty, and not an ettin-data build",
            "choose another --out, or empty the folder",
        )


def owner_of(state: State) -> str | None:
    """Return the fingerprint of the mixture that a folder belongs to, if it is known."""
    try:
        return read_manifest(state.out / MANIFEST).mixture.fingerprint
    except MismatchError:
        pass
    with suppress(MismatchError):
        return read_partial(state.out / PARTIAL).identity
    try:
        return str(parse_json(state.owner.read_bytes())["fingerprint"])
    except (OSError, ValueError, TypeError, KeyError):
        # Where the manifest was lost or damaged, the table of steps still names the mixture.
        return read_origin(state.out / STEPS)
