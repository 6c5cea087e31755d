"""A small pool and its orders, with rows of their own and without."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from support import builds
from support.mds import write
from support.strategies import Row

from pipeline.core.digest import FileDigest
from pipeline.dataset.manifest import manifest_bytes, read_manifest

CLS, SEP = 50281, 50282
NUM_ROWS, BATCH = 83, 8
INDEX = ("--rows", "index")
ON_DISK = ("--memory", "1")


def write_pool(folder: Path) -> Path:
    """Write 83 rows, of which some lack CLS or SEP, and some are longer than 16 ids."""
    draw = np.random.default_rng(3)
    rows = []
    for number in range(NUM_ROWS):
        ids = draw.integers(0, 50_000, draw.integers(1, 24)).tolist()
        ids = [CLS] * (number % 2) + ids + [SEP] * (number % 3 == 0)
        rows.append(Row(f"d{number // 2}", ids))
    write(folder, rows, dtype="uint16", size_limit=600)
    assert len([*folder.glob("*.mds")]) > 5
    return folder


def order(pool: Path, out: Path, *arguments: str, view: str = "stored", form: str = "mds") -> Path:
    """Put a pool in order by the command, in this process; return the output."""
    settings = {
        "algorithm": "ettin-pcg64dxsm-v1", "global_batch_size": BATCH, "max_seq_len": 16,
        "window_tokens": 300, "view": view, "format": form,
    }  # fmt: skip
    given: Sequence[str] = [f"--set=order.{key}={value}" for key, value in settings.items()]
    chosen = [one.split("=")[1] for one in arguments if one.startswith("--set=")]
    given = [one for one in given if one.split("=")[1] not in chosen]
    builds.run_well("order", pool, "--out", out, *given, *arguments)
    return out


def exchange(out: Path, path: Path, at: int) -> None:
    """Exchange two numbers in a file of an output, whose own manifest then lists it as it is."""
    words = np.frombuffer(path.read_bytes()[at:], np.uint32).copy()
    words[:2] = words[1::-1]
    path.write_bytes(path.read_bytes()[:at] + words.tobytes())
    manifest = read_manifest(out / "manifest.json")
    files = {**manifest.files, path.relative_to(out).as_posix(): FileDigest.of(path)}
    (out / "manifest.json").write_bytes(manifest_bytes(replace(manifest, files=files)))
