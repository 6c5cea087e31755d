"""Paths in an output folder.

`train/`, `order/`, `provenance/` and `manifest.json` are the product; `validation/` is an output of
the same form. `.ettin/` is the state of a build, removed when the manifest is written.

Source of the layout: the published `jhu-clsp/ettin-extension-data` and `jhu-clsp/ettin-data-order`.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import ChunkSpec

TRAIN = "train"
ORDER = "order"
STEPS = f"{ORDER}/steps.parquet"
POOL_PLACE = f"{ORDER}/pool.txt"
"""Says where the foreign pool of an order without rows of its own lies; differs by machine, so no
manifest lists it."""
MANIFEST = "manifest.json"
PARTIAL = "partial.json"
"""In place of a manifest, where partitions were built alone."""
TOKENIZER = "tokenizer.json"
INDEX_NAME = "index.json"
"""Of MDS shards."""
PROVENANCE = "provenance"
VALIDATION = "validation"
DROPPED = "dropped"
DOCUMENTS = f"{PROVENANCE}/documents"
OF_PARTITIONS = ("drawn", "dropped")
"""Folders of the provenance that are made before rows are put in order."""
STATE = ".ettin"


def chunk_folder(partition: str, chunk: ChunkSpec) -> str:
    """Return the name of a partition's folder of shards, with the sizes as published."""
    if chunk.algorithm == "ettin-line-v1":
        # It is one already.
        return partition
    if chunk.algorithm == "whole-v1":
        return f"{partition}-tokenized-chunked-{chunk.size}-whole"
    return (
        f"{partition}-tokenized-chunked-{chunk.size}-{chunk.min_size}-{chunk.skip_below}"
        "-backfill-nodups"
    )


def provenance_file(steps: str) -> str:
    """Return the file of the provenance of a file of steps; both are relative to the output."""
    stem = steps.removeprefix(f"{ORDER}/").removesuffix(".parquet")
    return f"{PROVENANCE}/{stem}.parquet"


def sampled_file(source: str, partition: str) -> str:
    return f"{PROVENANCE}/drawn/{source}/{partition}.parquet"


def is_drawn_file(path: str) -> bool:
    """Return whether a path, relative to the output, is a `sampled_file`."""
    return path.startswith(f"{PROVENANCE}/drawn/")


def copies_file(source: str, file: str) -> str:
    """Return the file that lists the dropped copies in an input file and their originals."""
    return f"{PROVENANCE}/dropped/{source}/{file}.parquet"


def is_output_file(path: str) -> bool:
    """Return whether a path, relative to the output, belongs to the product, not to the state."""
    return not path.startswith(f"{STATE}/")


def dropped_file(source: str, partition: str) -> str:
    """Return the file of dropped documents of a partition that are kept."""
    return f"{DROPPED}/{source}/{partition}.jsonl.zst"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Paths in `.ettin/`, the state of a build; static methods are relative to the output."""

    out: Path
    """The output folder, absolute."""

    @property
    def root(self) -> Path:
        return self.out / STATE

    @property
    def scratch(self) -> Path:
        """Files that are being written, before they are renamed."""
        return self.root / "tmp"

    @property
    def lock(self) -> Path:
        """Held by who works in the folder; parts of one stage share it."""
        return self.root / "lock"

    @property
    def owner(self) -> Path:
        return self.root / "mixture.json"

    @property
    def ordered(self) -> Path:
        """There while the order is as a finished build left it."""
        return self.root / "ordered"

    @property
    def documents(self) -> Path:
        """Where provenance is brought together by document."""
        return self.root / "documents"

    @property
    def distrust(self) -> Path:
        """There after a run that failed where it trusted files: the next one hashes them."""
        return self.root / "distrust"

    @property
    def cache_fails(self) -> Path:
        """There once something could not be put into the cache of chunks in this run."""
        return self.root / "cache_fails"

    @property
    def records(self) -> Path:
        """The logs of what tasks have made."""
        return self.root / "records"

    @property
    def parts(self) -> Path:
        """What runs of parts of a stage leave: a lock each, and their versions."""
        return self.root / "parts"

    @property
    def orders(self) -> Path:
        """The permutation and other arrays of the order, which tasks map."""
        return self.root / "order"

    def order(self, name: str) -> Path:
        return self.orders / f"{name}.npy"

    @property
    def pool_files(self) -> Path:
        return self.orders / "files.json"

    @staticmethod
    def scattered(name: str) -> str:
        """A file of rows of a pool, in cells by where they go in the order."""
        return f"{STATE}/scattered/{name}"

    @staticmethod
    def sorted(name: str) -> str:
        """A file of such rows of one bucket, in finer cells."""
        return f"{STATE}/sorted/{name}"

    def table(self, folder: str) -> Path:
        return self.root / "tables" / f"{folder}.npy"

    @staticmethod
    def chunks(source: str, folder: str) -> str:
        """The folder of all chunks of a partition, before sampling."""
        return f"{STATE}/chunks/{source}/{folder}"

    @staticmethod
    def holdout_chunks(source: str, folder: str) -> str:
        """The folder of all chunks of a partition, as another chunker makes them for validation."""
        return f"{STATE}/holdout-chunks/{source}/{folder}"

    @staticmethod
    def digests(folder: str) -> str:
        return f"{STATE}/digests/{folder}.npy"

    @property
    def before_sampling(self) -> tuple[Path, ...]:
        """What sampling alone reads: all chunks, digests of their texts, and tables of both."""
        return (
            *(self.root / name for name in ("chunks", "holdout-chunks", "digests")),
            self.root / "tables" / STATE,
        )

    def scan(self, source: str, file: str) -> Path:
        return self.root / "survey" / source / f"{file}.parquet"

    def filtered(self, source: str, file: str) -> Path:
        return self.root / "filtered" / source / f"{file}.npy"

    def drops(self, source: str, file: str) -> Path:
        """The documents of an input file that filters or the scan drop, and why."""
        return self.root / "drops" / source / f"{file}.npy"

    def decoder(self, digest: str) -> Path:
        return self.root / "decoders" / f"{digest}.json"

    @property
    def buckets(self) -> Path:
        """What one pass leaves for the next, by ranges of numbers."""
        return self.root / "buckets"

    def bucketed(self, name: str, number: int) -> Path:
        return self.buckets / name / str(number)

    @property
    def shared_texts(self) -> Path:
        """The numbers of texts that are held out because another source gives them."""
        return self.root / "shared_texts.npy"

    @property
    def evaluation(self) -> Path:
        return self.root / "survey" / "evaluation.npy"
