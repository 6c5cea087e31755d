"""Verify sees every byte: each one of a small output is changed once, and found."""

from pathlib import Path

import pytest
from support import builds

from pipeline.audit.verify import verify

from . import commands
from .model import INPUTS, VARIANTS, write_input

# In CI one byte in so many is changed, and in a sweep each.
STRIDE = 499


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    for name in INPUTS:
        write_input(folder, name, 0)
    mixture = builds.write_mixture(folder, VARIANTS["plain"])
    assert commands.run("build", mixture, "--out", folder / "out").is_good
    return folder / "out"


def changed_unseen(out: Path, stride: int) -> tuple[int, list[str]]:
    """Change a bit of every so many bytes; return how many, and those that verify passes over."""
    unseen, number = [], 0
    for name in sorted(builds.digests(out)):
        path = out / name
        content = path.read_bytes()
        for at in range(0, len(content), stride):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            path.write_bytes(changed)
            number += 1
            where = out / "validation" if name.startswith("validation/") else out
            if not verify(where):
                unseen.append(f"{name}: byte {at}")
        path.write_bytes(content)
    assert verify(out) == verify(out / "validation") == []
    return number, unseen


def test_some_bytes_are_all_seen(out: Path) -> None:
    number, unseen = changed_unseen(out, STRIDE)
    assert number > 100
    assert unseen == []


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_every_byte_is_seen(out: Path) -> None:
    number, unseen = changed_unseen(out, 1)
    print(f"{number:,} bytes")
    assert unseen == []
