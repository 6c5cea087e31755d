"""A folder served as one data set, for tests of a published order: see `source_server`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import source_server
from support.served_content import COMMIT
from support.source_server import Fault

__all__ = ["COMMIT", "Fault", "Server", "serve"]


@dataclass(frozen=True)
class Server(source_server.Server):
    """A server of one data set."""

    repo: str = "org/order"
    """ORG/NAME."""

    def where(self, path: str = "", revision: str | None = None) -> str:
        """Return the address of a path in the data set."""
        at = f"@{revision}" if revision else ""
        return f"hf://datasets/{self.repo}{at}" + (f"/{path}" if path else "")

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Put faults in place of those there were."""
        super().set_faults(_of_files(faults))


def _of_files(faults: Sequence[Fault]) -> list[Fault]:
    return [{"match": ".parquet", **fault} for fault in faults]


@contextmanager
def serve(
    folder: Path,
    *,
    repo: str = "org/order",
    faults: Sequence[Fault] = (),
    token: str | None = None,
    gated: bool = False,
    page_size: int = 1000,
    lfs: bool = True,
) -> Iterator[Server]:
    """Serve a folder until the block ends; faults strike ".parquet" where they name nothing else.

    `token`: what must be sent to see the data set. `gated`: it is listed to all, and its files
    are given to `token` alone, or to nobody.
    """
    with source_server.serve(
        {repo: folder},
        faults=_of_files(faults),
        token=token or "nobody's",
        private=[repo] if token and not gated else [],
        gated=[repo] if gated else [],
        page_size=page_size,
        lfs=lfs,
    ) as server:
        yield Server(server.endpoint, repo=repo)
