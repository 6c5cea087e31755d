"""Check runs: once a file of cells is found to be damaged, all of them are looked through.

A loss of power damages many files at once, and a task stops at the first. If those beside it
stayed, each of them would cost a run of the tool.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.core.cells import CellFormat, CellReader, DamagedCells
from pipeline.core.errors import OutputError
from pipeline.runner.cluster import Cluster

CellFile = tuple[Path, CellFormat]
"""Where a file of cells is, and what is in it."""


@contextmanager
def checking(cluster: Cluster, files: Iterable[CellFile]) -> Iterator[None]:
    """Remove all files with a damaged cell if a task in the block finds one.

    Raises: what the block raises.
    """
    try:
        yield
    except DamagedCells:
        # One that cannot be removed is said by the next run.
        cluster.map("check what is laid out", remove_damaged, list(files))
        raise


def remove_damaged(file: CellFile) -> None:
    """Remove a file unless all its cells are as they were written."""
    path, form = file
    with suppress(OutputError), CellReader(path, form) as reader:
        for number in range(form.num_cells):
            reader.read(number, number + 1)
