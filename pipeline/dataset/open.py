"""Rows in order, wherever they lie: published parquet on disk or on the Hub, and MDS shards."""

from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.mds.writer import INDEX_NAME
from pipeline.dataset.parquet.reader import CLS_ID, PublishedOrder
from pipeline.dataset.paths import ORDER
from pipeline.storage import check_is_path, is_hub_address


def open_rows(
    where: str | Path, *, wrap: bool = False, cls_id: int = CLS_ID
) -> PublishedOrder | MdsRows:
    """Open what lies at a path, or at an address `hf://datasets/ORG/NAME[@REVISION][/PATH]`.

    That is a parquet file, a folder of one window or of several, MDS shards under an `index.json`,
    or the output of a build, of which the order is opened; one without a step has no rows. For
    `wrap` and `cls_id` see `PublishedOrder`.

    Raises: InputError when nothing of that kind is there.
    """
    if is_hub_address(where):
        return PublishedOrder.open_remote(str(where), wrap=wrap, cls_id=cls_id)
    path = Path(where)
    check_is_path(path, "an order or a pool")
    if not path.exists():
        raise InputError(
            f"{path}: got nothing there, expected an order or a pool", "check the path"
        )
    if (path / INDEX_NAME).is_file():
        return MdsRows.open(path)
    if (path / ORDER).is_dir():
        return open_rows(path / ORDER, wrap=wrap, cls_id=cls_id)
    return PublishedOrder.open_local(path, wrap=wrap, cls_id=cls_id)
