"""An order without rows of its own is the order with them; what is wrong with its pool is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import builds, second_opinion
from support.index_orders import BATCH, INDEX, NUM_ROWS, ON_DISK, exchange, order, write_pool

from pipeline import dataset
from pipeline.core.errors import InputError, MismatchError, PipelineError
from pipeline.dataset.index_order import without_rows
from pipeline.dataset.manifest import read_manifest
from pipeline.feed import Mlm, make_feed

VIEWS = ("stored", "encoder", "decoder")
FEISTEL = "--set=order.algorithm=feistel-v1"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pool(tmp_path_factory.mktemp("of") / "pool")


@pytest.fixture(scope="module")
def written(pool: Path) -> Path:
    return order(pool, pool.parent / "written", view="encoder")


@pytest.fixture(scope="module")
def index(pool: Path) -> Path:
    return order(pool, pool.parent / "index", *INDEX, view="encoder")


@pytest.fixture
def own(pool: Path, index: Path, tmp_path: Path) -> Path:
    """An order and its pool, to be changed."""
    shutil.copytree(pool, tmp_path / "pool")
    shutil.copytree(index, tmp_path / "out")
    (tmp_path / "out/order/pool.txt").write_text("../pool\n")
    return tmp_path / "out"


def kept(out: Path) -> dict[str, str]:
    """Return the digests of what both forms of an order have."""
    found = builds.digests(out)
    return {
        name: digest
        for name, digest in found.items()
        if name.startswith("provenance/") or name == "order/steps.parquet"
    }


@pytest.mark.parametrize("algorithm", [(), (FEISTEL,)], ids=["stored", "computed"])
@pytest.mark.parametrize("memory", [(), ON_DISK], ids=["in memory", "on disk"])
@pytest.mark.parametrize(
    ("view", "form"), [("stored", "mds"), ("encoder", "parquet"), ("decoder", "mds")]
)
def test_it_is_the_order_that_is_written(
    view: str, form: str, memory: tuple[str], algorithm: tuple[str], pool: Path, tmp_path: Path
) -> None:
    names = ("written", "index")
    written, index = (
        order(pool, tmp_path / name, "--rows", name, *memory, *algorithm, view=view, form=form)
        for name in names
    )
    assert kept(index) == kept(written)
    own = {path.name for path in (index / "order").iterdir()}
    permutation = set() if algorithm else {f"ettin-pcg64dxsm-v1-{NUM_ROWS}-21.npy"}
    assert own == {"steps.parquet", "pool.txt", *permutation}
    one, other = (read_manifest(out / "manifest.json") for out in (written, index))
    assert without_rows(one) == without_rows(other)
    assert json.loads((written / "manifest.json").read_bytes())["order"].keys() == (
        json.loads((index / "manifest.json").read_bytes())["order"].keys() - {"pool"}
    )

    expected, found = dataset.open(written), dataset.open(index)
    assert (expected.digest, expected.view) == (found.digest, found.view)
    assert found.rows.num_rows == NUM_ROWS // BATCH * BATCH
    for one_block, block in zip(
        [*expected.rows.read(0, 80)], [*found.rows.read(0, 80)], strict=True
    ):
        np.testing.assert_array_equal(one_block.values, block.values)
        np.testing.assert_array_equal(one_block.offsets, block.offsets)
    for out, target in ((index, written), (written, index), (index, written / "manifest.json")):
        assert builds.run_well("verify", out, "--against", target).endswith("equal\n")
    assert second_opinion.tool.verify(index)
    for out, target in ((index, written), (written, index), (index, index)):
        builds.run_well("verify", out, "--manifest", target / "manifest.json")
    assert "nothing differs" in builds.run_well("diff", written, index)


@settings(deadline=None, max_examples=30)
@given(rows=st.sets(st.integers(0, NUM_ROWS // BATCH * BATCH - 1)), checks=st.booleans())
def test_any_rows_are_those_that_are_written(
    rows: set[int], checks: bool, written: Path, index: Path
) -> None:
    numbers = np.array(sorted(rows), np.int64)
    one, other = (dataset.open(out, checks=checks).rows.take(numbers) for out in (written, index))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.offsets, other.offsets)


def test_commands_say_the_same_of_both(written: Path, index: Path, tmp_path: Path) -> None:
    for command in (("trace", "--step", "3", "--text"), ("trace", "--row", "7"),
                    ("feed", "--rank", "1", "--world-size", "2", "--steps", "2")):  # fmt: skip
        one, other = (
            builds.run_well(command[0], out, *command[1:]).replace(str(out), "OUT")
            for out in (written, index)
        )
        assert one == other
    for out in (written, index):
        builds.run_well("digest", out, "--out", tmp_path / out.name)
    digests = [json.loads((tmp_path / out.name).read_bytes()) for out in (written, index)]
    assert digests[0]["ledger"] == digests[1]["ledger"]
    assert digests[0]["num_tokens"] == digests[1]["num_tokens"]


def test_a_feed_gives_the_same_batches_and_goes_on_in_the_other(written: Path, index: Path) -> None:
    feeds = [
        make_feed(dataset.open(out), objective=Mlm(mask_prob=0.3, seed=1), micro_batch_rows=4)
        for out in (written, index)
    ]
    batches = [[batch.inputs for batch in feed] for feed in feeds]
    assert len(batches[0]) > 10
    for one, other in zip(*batches, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def gone(out: Path) -> str:
    shutil.rmtree(out.parent / "pool")
    return rf"{out}/\.\./pool: got no index.json \(No such file"


def place_gone(out: Path) -> str:
    (out / "order/pool.txt").unlink()
    return r"order/pool.txt: cannot be read: No such file"


def index_changed(out: Path) -> str:
    path = out.parent / "pool/index.json"
    path.write_bytes(path.read_bytes().replace(b"raw_data", b"raw_data", 1) + b"\n")
    return r"index.json: sha256 is \w+, expected \w+ as of the pool"


def shard_gone(out: Path) -> str:
    (out.parent / "pool/shard.00002.mds").unlink()
    return r"shard.00002.mds: got no shard \(No such file"


def shard_longer(out: Path) -> str:
    with (out.parent / "pool/shard.00002.mds").open("ab") as file:
        file.write(b"more")
    return r"pool: got shards of [\d,]+ bytes, expected [\d,]+: the pool was changed"


def permutation_gone(out: Path) -> str:
    next((out / "order").glob("*.npy")).unlink()
    return r"npy: is missing or damaged, expected the permutation"


def permutation_cut(out: Path) -> str:
    path = next((out / "order").glob("*.npy"))
    path.write_bytes(path.read_bytes()[:200])
    return r"npy: is missing or damaged, expected the permutation"


OPENED = [gone, place_gone, index_changed, shard_gone, shard_longer, permutation_gone,
          permutation_cut]  # fmt: skip


@pytest.mark.parametrize("change", OPENED, ids=lambda change: change.__name__)
def test_a_pool_that_is_gone_or_another_is_named_when_it_is_opened(
    change: Callable[[Path], str], own: Path
) -> None:
    said = change(own)
    with pytest.raises(PipelineError, match=said) as caught:
        dataset.open(own)
    assert isinstance(caught.value, InputError | MismatchError)
    assert caught.value.hint
    assert builds.run("verify", own).returncode == 1


def test_bytes_that_changed_are_named_when_they_are_read(own: Path) -> None:
    path = own.parent / "pool/shard.00003.mds"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    order = dataset.open(own)
    # Any of them may be the one.
    said = r"shard.\d{5}.mds and \d+ more files: rows 0 to 79 are not those of the ledger"
    with pytest.raises(MismatchError, match=said):
        order.rows.take(np.arange(8))
    told = builds.run("verify", own)
    assert told.returncode == 1
    assert "rows 0 to 79 are not those of the ledger" in told.stdout
    assert not second_opinion.tool.verify(own)


def test_a_manifest_without_rows_proves_those_that_are_written(
    written: Path, index: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(written, tmp_path / "out")
    exchange(out, next((out / "order").glob("*/*/*.mds")), at=-8)
    builds.run_well("verify", out)
    told = builds.run("verify", out, "--manifest", index / "manifest.json")
    assert told.returncode == 1
    assert "are not those of the ledger" in told.stdout


def test_a_permutation_of_other_samples_is_an_error(own: Path) -> None:
    path = next((own / "order").glob("*.npy"))
    data = path.read_bytes()
    path.write_bytes(data[: -8 * NUM_ROWS] + b"\xff" * (8 * NUM_ROWS))
    with pytest.raises(InputError, match="got an order of other samples, so it is damaged"):
        dataset.open(own, checks=False).rows.take(np.arange(8))


def test_a_pool_that_was_moved_is_found_where_the_file_says(own: Path) -> None:
    expected = dataset.open(own).rows.take(np.arange(80)).values
    moved = own.parent / "elsewhere"
    (own.parent / "pool").rename(moved)
    (own / "order/pool.txt").write_text(f"{moved}\n")
    np.testing.assert_array_equal(dataset.open(own).rows.take(np.arange(80)).values, expected)
    builds.run_well("verify", own)


def test_by_address_there_is_a_manifest_and_a_reason(index: Path, written: Path) -> None:
    files = fsspec.filesystem("memory")
    files.put(f"{index}/", "/index-order", recursive=True)
    order = dataset.open("memory://index-order")
    assert not order.has_rows
    assert order.digest == dataset.open(written).digest
    with pytest.raises(InputError, match="got an order whose rows lie all over a pool, at an addr"):
        order.rows.take(np.arange(3))
    told = builds.run_well("verify", written, "--against", "memory://index-order")
    assert told.endswith("equal\n")
