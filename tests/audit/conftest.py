"""Fixtures of several files: outputs by view and without a pool, planted builds, traced outputs."""

from functools import lru_cache, partial
from pathlib import Path

import pytest
from support import builds, planted
from support.clusters import Build
from support.explained import CUT, MIXTURE, OTHERS, SETTINGS, WHOLE, Made
from support.made_once import made_once
from support.orders import Row, read_rows
from support.traced import write_output
from support.verified import AS_FINISHED, NUM_ROWS, WINDOWS

from pipeline.audit.trace.lookup import Trace
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="session")
def rows(finished: Path) -> list[Row]:
    """The ordered rows of `finished`; not to be changed."""
    rows = read_rows(finished / "order")
    assert len(rows) == NUM_ROWS == sum(WINDOWS)
    return rows


@pytest.fixture(scope="session")
def viewed(
    small: Path, tmp_path_factory: pytest.TempPathFactory, build_here: Build
) -> dict[str, Path]:
    """Outputs of the small mixture by view, where many rows are cut; one of them has MDS rows."""
    formats = {"stored": "parquet", "encoder": "parquet", "decoder": "mds"}

    def make(folder: Path) -> None:
        for view, form in formats.items():
            settings = (f"order.view={view}", f"order.format={form}")
            build_here(small, folder / view, "order.max_seq_len=100", *settings)

    folder = made_once(tmp_path_factory, "viewed", make)
    return {view: folder / view for view in formats}


@pytest.fixture(scope="session")
def replayed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pool of `finished` in its own order, in another, and as stored; without the pool."""
    made = {"same": ["view=encoder"], "other": ["view=encoder", "seed=22"], "stored": []}

    def make(folder: Path) -> None:
        for name, settings in made.items():
            changed = (*AS_FINISHED, *settings)
            flags = [part for one in changed for part in ("--set", f"order.{one}")]
            where = folder / name
            builds.run_well("order", finished / "train", "--out", where, *flags)
            assert not (where / "train").exists()

    folder = made_once(tmp_path_factory, "replayed", make)
    return {name: folder / name for name in made}


@pytest.fixture(scope="session")
def made(small: Path, tmp_path_factory: pytest.TempPathFactory, build_here: Build) -> Made:
    """Returns the output of one of `SETTINGS`, built when it is first asked for."""

    def build(name: str, folder: Path) -> None:
        chunk = CUT if name.startswith(("slice", "re")) else WHOLE
        text = MIXTURE.replace("CHUNK", chunk)
        if name == "doubled":
            text = "".join(line for line in text.splitlines(True) if not line.startswith(OTHERS))
        mixture = builds.write_mixture(small.parent, text, f"{folder.name}.yaml")
        build_here(mixture, folder / "out", *SETTINGS[name])

    @lru_cache
    def make(name: str) -> Path:
        short = "planted-" + name.replace(",", "").replace(" ", "-")
        return made_once(tmp_path_factory, short, partial(build, name)) / "out"

    return make


@pytest.fixture(scope="session")
def whole(made: Made) -> planted.Planted:
    """The pool of the output that most plants are made from."""
    return planted.read(made("whole"))


@pytest.fixture
def traced(tmp_path: Path) -> Trace:
    """Six rows in four steps and two windows."""
    rows = [("a", "x"), ("b", "y"), ("a", "x"), ("b", "x"), ("a", "z"), ("b", "y")]
    write_output(tmp_path / "out", rows, steps=[1, 2, 2, 1], windows=[3, 1], num_dropped=5)
    return Trace.open(tmp_path / "out")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer("modernbert", add_prefix_space=False)


@pytest.fixture(scope="module")
def spacing() -> Tokenizer:
    return load_tokenizer("modernbert", add_prefix_space=True)
