"""A small output with a mixture that states licences, keys, and a signed bundle of it with rows."""

import subprocess
from pathlib import Path

import pytest
from support import builds
from support.published import ABOUT, MIXTURE, Place

SEEDS = {"letters": 12, "notes": 6, "tides": 6}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The output and what it was made from; not to be changed."""
    folder = tmp_path_factory.mktemp("published")
    for name, number in SEEDS.items():
        lines = builds.json_lines(builds.documents(name, number, 120))
        (folder / f"{name}.jsonl").write_bytes(lines)
    (folder / "harbour.yaml").write_text(MIXTURE)
    (folder / "about.yaml").write_text(ABOUT)
    (folder / "terms.txt").write_text("Do as you like.\n")
    place = Place(folder=folder)
    builds.run_well("lock", place.mixture, "--lock", place.lock)
    build = ("build", place.mixture, "--lock", place.lock, "--out", place.out, "--workers", "1")
    builds.run_well(*build)
    made = place.bundle("--rows")
    assert made.returncode == 0, made.stderr
    return place


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `own.pem`, `own.pub`, and those of somebody else; not to be changed."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        private, public = folder / f"{name}.pem", folder / f"{name}.pub"
        make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private]
        subprocess.run(make, check=True)
        show = ["openssl", "ec", "-in", private, "-pubout", "-out", public]
        subprocess.run(show, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def signed(place: Place, keys: Path) -> Path:
    """A bundle with rows and a signature; not to be changed."""
    out = place.folder / "signed"
    done = place.bundle("--rows", "--sign", keys / "own.pem", out=out)
    assert done.returncode == 0, done.stderr
    return out
