"""Where things lie in an output folder.

`train/`, `order/`, `provenance/` and `manifest.json` are the product. Where the mixture asks for
them, `validation/` is an output of the same form, and `dropped/` keeps some dropped documents.
`.ettin/` holds the state of a build (what is done, what is being written) and is removed when the
manifest is written.

Source of the layout of `train/` and `order/`: the published `jhu-clsp/ettin-extension-data` and
`jhu-clsp/ettin-data-order`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config import ChunkSpec

OrderFormat = Literal["parquet", "mds"]

TRAIN = "train"
ORDER = "order"
STEPS = f"{ORDER}/steps.parquet"
MANIFEST = "manifest.json"
INDEX_NAME = "index.json"
"""In a folder of MDS shards."""
PROVENANCE = "provenance"
VALIDATION = "validation"
DROPPED = "dropped"
DOCUMENTS = f"{PROVENANCE}/documents"
STATE = ".ettin"
STEPS_PER_FILE = 100


def chunk_folder(partition: str, chunk: ChunkSpec) -> str:
    """Return the name of a partition's folder of shards.

    The published name says size, smallest size and what is skipped; `whole-v1` has but a size.
    """
    if chunk.algorithm == "whole-v1":
        return f"{partition}-tokenized-chunked-{chunk.size}-whole"
    return (
        f"{partition}-tokenized-chunked-{chunk.size}-{chunk.min_size}-{chunk.skip_below}"
        "-backfill-nodups"
    )


def window_folder(phase: str, window: int) -> str:
    """Return the folder of a window of the order; windows count from 0, folders from 1."""
    return f"{ORDER}/{phase}_{window + 1:06d}"


def steps_file(first_step: int, last_step: int, format_: OrderFormat) -> str:
    """Return the name of a file of steps, numbered from 1 within their window.

    In MDS it is a folder of shards.
    """
    suffix = {"parquet": ".parquet", "mds": ""}[format_]
    return f"steps_{first_step:06d}_to_{last_step:06d}{suffix}"


def provenance_file(steps: str) -> str:
    """Return where the provenance of a file of steps lies; both are relative to the output."""
    stem = steps.removeprefix(f"{ORDER}/").removesuffix(".parquet")
    return f"{PROVENANCE}/{stem}.parquet"


def drawn_file(source: str, partition: str) -> str:
    """Return the file that says which chunks of a partition were sampled."""
    return f"{PROVENANCE}/drawn/{source}/{partition}.parquet"


def copies_file(source: str, partition: str) -> str:
    """Return the file that lists the dropped copies in a partition, and of which document."""
    return f"{PROVENANCE}/dropped/{source}/{partition}.parquet"


def is_output_file(path: str) -> bool:
    """Tell whether a path, relative to the output, belongs to the product, not to the state."""
    return not path.startswith(f"{STATE}/")


def dropped_file(source: str, partition: str) -> str:
    """Return the file of some of the dropped documents of a partition."""
    return f"{DROPPED}/{source}/{partition}.jsonl.zst"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Paths in `.ettin/`, which a build keeps until it is done. Static ones start at the output."""

    out: Path
    """The output folder, absolute."""

    @property
    def root(self) -> Path:
        return self.out / STATE

    @property
    def scratch(self) -> Path:
        """Where files are written before they are renamed."""
        return self.root / "tmp"

    @property
    def owner(self) -> Path:
        """Which mixture the folder is for."""
        return self.root / "mixture.json"

    @property
    def records(self) -> Path:
        """What finished tasks have written."""
        return self.root / "records"

    def record(self, name: str) -> Path:
        return self.records / f"{name}.json"

    @property
    def orders(self) -> Path:
        """The permutation, and other arrays of the order that tasks map."""
        return self.root / "order"

    def order(self, name: str) -> Path:
        return self.orders / f"{name}.npy"

    @property
    def folders(self) -> Path:
        """The folders of the pool, by number."""
        return self.orders / "folders.json"

    @property
    def scattered_folders(self) -> Path:
        """The folders of rows that are laid out by position."""
        return self.orders / "scattered.json"

    @staticmethod
    def scattered(name: str) -> str:
        return f"{STATE}/scattered/{name}"

    def table(self, folder: str) -> Path:
        """A table of the rows of a folder of shards."""
        return self.root / "tables" / f"{folder}.npy"

    @staticmethod
    def chunks(source: str, folder: str) -> str:
        """The folder of all chunks of a partition that is sampled."""
        return f"{STATE}/chunks/{source}/{folder}"

    @staticmethod
    def digests(folder: str) -> str:
        """The digests of the texts of a folder's documents."""
        return f"{STATE}/digests/{folder}.npy"

    def survey(self, source: str, partition: str) -> Path:
        """The scan of a partition's documents, before any is dropped."""
        return self.root / "survey" / source / f"{partition}.parquet"

    def filtered(self, source: str, partition: str) -> Path:
        """Which documents of a partition the filters drop, and why."""
        return self.root / "filtered" / source / f"{partition}.npy"

    def drops(self, source: str, partition: str) -> Path:
        """Which documents of a partition are dropped by filters or the scan, and why."""
        return self.root / "drops" / source / f"{partition}.npy"

    def decoder(self, digest: str) -> Path:
        """A tokenizer by which rows of ids become text."""
        return self.root / "decoders" / f"{digest}.json"

    @property
    def evaluation(self) -> Path:
        """The n-grams of evaluation texts."""
        return self.root / "survey" / "evaluation.npy"
