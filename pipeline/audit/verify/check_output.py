"""Verify: a manifest and a folder -> every mismatch, never only the first."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pipeline.audit.verify.check_rows import check_rows, has_foreign_pool
from pipeline.audit.verify.check_sums import check_sums
from pipeline.core.digest import FileDigest
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.json_record import from_json, parse_json
from pipeline.core.limits import num_cores
from pipeline.core.mirrored import mirror_of
from pipeline.core.progress import ReportProgress, Work, no_progress
from pipeline.core.regular_file import read_file
from pipeline.dataset import (
    MANIFEST,
    PARTIAL,
    POOL_PLACE,
    VALIDATION,
    Manifest,
    PartialManifest,
    is_other_form,
    read_manifest,
    read_partial,
)


def verify(
    out: Path, manifest: Path | None = None, report: ReportProgress = no_progress
) -> list[str]:
    """Compare a folder with a manifest, its own by default; return one line a mismatch.

    Partitions that were built alone have `partial.json` as their manifest. Every file that the
    manifest names is hashed; a file that it does not name is a mismatch too,
    and so is the folder's own manifest if it is damaged or differs from another one that is given.
    Where every byte is as listed, the manifest must add up too, and so must that of the holdout;
    rows of a foreign pool are compared with the ledger. A manifest of the same order whose rows are
    written will do for one whose are not, and the other way round; it has no digest of the files
    that rows are read by, so these too are compared with its ledger.

    Raises: InputError when `out` is no folder, or the given manifest cannot be used.
    """
    if not out.is_dir():
        raise InputError(f"{out}: got no folder, expected the output of a build")
    own = out / MANIFEST
    if not own.exists() and (out / PARTIAL).is_file():
        own = out / PARTIAL
    mismatches: list[str] = []
    described, is_other = _describe(own, manifest, mismatches)
    expected = _files_of_damaged(own) if described is None else described.files
    if expected is None:
        return mismatches
    with ThreadPoolExecutor(num_cores()) as pool:
        paths = sorted(expected)
        checked = pool.map(lambda path: _check(out / path, path, expected[path]), paths)
        done, total = 0, sum(one.num_bytes for one in expected.values())
        for path, mismatch in zip(paths, checked, strict=True):
            if mismatch is not None:
                mismatches.append(mismatch)
            done += expected[path].num_bytes
            report("verify", done, total, Work(unit="bytes", num_bytes=done))
    strangers = _files(out) - {*expected, own.name, *_place(described)}
    mismatches += [f"{_spelled(path)}: is not in the manifest" for path in strangers]
    if not mismatches and isinstance(described, Manifest):
        mismatches = check_sums(out, described)
        if is_other or has_foreign_pool(described):
            mismatches += check_rows(out)
        if f"{VALIDATION}/{MANIFEST}" in expected:
            mismatches += [f"{VALIDATION}/{line}" for line in verify(out / VALIDATION)]
    return sorted(mismatches)


def _describe(
    own: Path, manifest: Path | None, mismatches: list[str]
) -> tuple[Manifest | PartialManifest | None, bool]:
    """Return the manifest to compare with, and whether it is the folder's own in place of a given
    one of the other form; None for a folder's own that is damaged."""
    if manifest is None or manifest.resolve() == own.resolve():
        try:
            return (read_partial(own) if own.name == PARTIAL else read_manifest(own)), False
        except MismatchError as error:
            mismatches.append(f"{own.name}: {error.message.removeprefix(f'{own}: ')}")
            return None, False
    try:
        given = read_manifest(manifest)
    except MismatchError as error:
        raise InputError(error.message, "get the manifest again") from error
    if not own.is_file():
        mismatches.append(f"{own.name}: is missing")
    elif read_file(own) != read_file(manifest):
        with suppress(MismatchError):
            if is_other_form(here := read_manifest(own), given):
                return here, True
        mismatches.append(f"{own.name}: differs from {manifest}")
    return given, False


def _place(described: Manifest | PartialManifest | None) -> tuple[str, ...]:
    """Return the file that says where a foreign pool lies, if there is one."""
    return (POOL_PLACE,) if isinstance(described, Manifest) and has_foreign_pool(described) else ()


def _files_of_damaged(manifest: Path) -> Mapping[str, FileDigest] | None:
    """Return what can be read of a damaged manifest."""
    try:
        files = parse_json(read_file(manifest))["files"]
        return {path: from_json(FileDigest, about) for path, about in files.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _files(out: Path) -> set[str]:
    if (mirror := mirror_of(out)) is not None:
        return set(mirror.sizes(out))
    files = (path for path in out.rglob("*") if not path.is_dir() or path.is_symlink())
    return {path.relative_to(out).as_posix() for path in files}


def _spelled(path: str) -> str:
    # A stranger may have any name, and each gets one line.
    return path if path.isprintable() else path.encode("unicode_escape").decode()


def _check(path: Path, name: str, expected: FileDigest) -> str | None:
    try:
        found = _digest(path, expected.num_bytes)
    except OSError as error:
        return f"{name}: cannot be read: {error.strerror}"
    if found is None:
        return f"{name}: is missing"
    if found.num_bytes != expected.num_bytes:
        return f"{name}: has {found.num_bytes} bytes, manifest says {expected.num_bytes}"
    if found != expected:
        return f"{name}: sha256 is {found.sha256}, manifest says {expected.sha256}"
    return None


def _digest(path: Path, num_bytes: int) -> FileDigest | None:
    """Return what a file is, which is only read if it has this size; None where there is none."""
    if (mirror := mirror_of(path)) is not None:
        stored = mirror.hash(path)
        return None if stored is None else FileDigest(num_bytes=stored[0], sha256=stored[1])
    if not path.is_file():
        return None
    if path.stat().st_size != num_bytes:
        return FileDigest(num_bytes=path.stat().st_size, sha256="")
    return FileDigest.of(path)
