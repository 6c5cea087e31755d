"""Gather real prose and code from the machine itself:

    python -m tests.benchmarks.corpus FOLDER [--megabytes 200]

Enters: text files, man pages and docstrings (prose) and Python files (code) of every system and
interpreter folder. Leaves: `FOLDER/{prose,code}/*.json.gz` as Dolma has them, and the other half of
the documents as plain `*.jsonl`. No two documents are equal; none is made up or repeated. Taken by
rising sha256, so any part is a fair sample and the same machine gives the same files.
"""

import argparse
import ast
import gzip
import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = ("prose", "code")
DOCUMENT_BYTES = (200, 200_000)
FILE_BYTES = 16_000_000

_ROOTS = ("/usr", "/opt", "/root", "/home", "/var/lib", sys.prefix, sys.base_prefix)
_PROSE_SUFFIXES = (".md", ".rst", ".txt")
_PROSE_NAMES = ("METADATA", "PKG-INFO", "README", "copyright")
_MAN_FOLDER = "/share/man/man"


def main() -> None:
    """Parse, gather, print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_arguments(parser)
    options = parser.parse_args()
    ensure(options.corpus, options.megabytes)
    for kind in KINDS:
        texts = [text for path in files(options.corpus, kind) for text in read(path)]
        print(f"{kind}: {len(texts):,} documents, {megabytes(texts):.1f} MB")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark over the corpus takes."""
    parser.add_argument("corpus", type=Path, metavar="FOLDER", help="made here if it is not there")
    parser.add_argument("--megabytes", type=float, default=200, help="of text of each kind")


def ensure(folder: Path, num_megabytes: float) -> None:
    """Make the corpus, unless the folder has it already."""
    done = folder / f"megabytes-{num_megabytes:g}"
    if done.exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder}: holds something else, expected a folder of our own or none")
    by_kind = _gather()
    for kind in KINDS:
        _write(folder / kind, kind, by_kind[kind], num_megabytes * 1e6)
    done.touch()


@contextmanager
def workspace(options: argparse.Namespace) -> Iterator[Path]:
    """Yield an empty folder in that of the corpus, which is made if it is not there."""
    ensure(options.corpus, options.megabytes)
    work: Path = options.corpus.absolute() / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work)


def files(folder: Path, kind: str) -> list[Path]:
    """List the files of a kind, in order."""
    return sorted((folder / kind).iterdir())


def read(path: Path) -> list[str]:
    """Read the texts of one file."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    return [json.loads(line)["text"] for line in lines]


def head(texts: list[str], num_megabytes: float) -> list[str]:
    """Return leading texts of about that size."""
    chosen, rest = [], num_megabytes * 1e6
    for text in texts:
        if rest <= 0:
            break
        rest -= len(text.encode())
        chosen.append(text)
    return chosen


def megabytes(texts: list[str]) -> float:
    """Return the size of texts in UTF-8."""
    return sum(len(text.encode()) for text in texts) / 1e6


def _gather() -> dict[str, dict[bytes, tuple[Path, str]]]:
    """Return all distinct documents of each kind by their sha256."""
    found: dict[str, dict[bytes, tuple[Path, str]]] = {kind: {} for kind in KINDS}

    def keep(kind: str, path: Path, text: str) -> None:
        encoded = text.encode()
        if DOCUMENT_BYTES[0] <= len(encoded) <= DOCUMENT_BYTES[1]:
            found[kind].setdefault(hashlib.sha256(encoded).digest(), (path, text))

    for path in _paths():
        text = _read_text(path)
        if text is None:
            continue
        if path.suffix != ".py":
            keep("prose", path, text)
            continue
        before = len(found["code"])
        keep("code", path, text)
        if len(found["code"]) > before:
            for docstring in _docstrings(text):
                keep("prose", path, docstring)
    return found


def _paths() -> Iterator[Path]:
    seen: set[str] = set()
    for root in _ROOTS:
        for folder, folders, names in os.walk(os.path.realpath(root)):
            folders[:] = [name for name in folders if not name.startswith(".git")]
            if folder in seen:
                folders.clear()
                continue
            seen.add(folder)
            for name in names:
                is_prose = name.endswith(_PROSE_SUFFIXES) or name.startswith(_PROSE_NAMES)
                if is_prose or name.endswith(".py") or _MAN_FOLDER in folder:
                    yield Path(folder, name)


def _read_text(path: Path) -> str | None:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > DOCUMENT_BYTES[1]:
            return None
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError):
        return None
    return None if "\0" in text else text


def _docstrings(code: str) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring and _is_encodable(docstring):
                yield docstring


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _write(
    folder: Path, kind: str, documents: dict[bytes, tuple[Path, str]], num_bytes: float
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[bytes] = []
    size, total, number = 0, 0, 0
    for digest, (path, text) in sorted(documents.items()):
        record = {
            "id": digest.hex()[:16],
            "text": text,
            "source": kind,
            "metadata": {"path": str(path)},
        }
        lines.append(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        size += len(text.encode())
        if size >= FILE_BYTES or total + size >= num_bytes:
            _write_file(folder / f"{kind}-{number:04d}", lines, packed=number % 2 == 0)
            lines, size, total, number = [], 0, total + size, number + 1
        if total >= num_bytes:
            return
    print(f"{kind}: the machine has only {(total + size) / 1e6:.0f} MB", file=sys.stderr)
    if lines:
        _write_file(folder / f"{kind}-{number:04d}", lines, packed=number % 2 == 0)


def _write_file(stem: Path, lines: list[bytes], *, packed: bool) -> None:
    data = b"".join(lines)
    if packed:
        stem.with_suffix(".json.gz").write_bytes(gzip.compress(data, 6, mtime=0))
    else:
        stem.with_suffix(".jsonl").write_bytes(data)


if __name__ == "__main__":
    main()
