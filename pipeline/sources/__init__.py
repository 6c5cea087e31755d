"""Sources: where documents come from, which files there are, their bytes, and what is in them."""

from pipeline.sources.download.fetch import fetch
from pipeline.sources.download.missing import DownloadPlan, Wanted, plan_download
from pipeline.sources.download.parallel import Pulled, pull, pull_missing
from pipeline.sources.lock.check import (
    check_lock,
    check_sources,
    check_tokenizer,
    differences,
    locked_source,
)
from pipeline.sources.lock.checksum import Hasher, check_file
from pipeline.sources.lock.create import POOL, make_lock
from pipeline.sources.lock.entries import Lock, LockedSource, LockedTokenizer
from pipeline.sources.lock.location import locate
from pipeline.sources.lock.lock_file import default_lock_path, lock_bytes, read_lock, write_lock
from pipeline.sources.partitions import InputFile, list_files, name_partitions
from pipeline.sources.readers import SKIP_HINT, Decoding, FileReader, OnBad

__all__ = [
    "POOL",
    "SKIP_HINT",
    "Decoding",
    "DownloadPlan",
    "FileReader",
    "Hasher",
    "InputFile",
    "Lock",
    "LockedSource",
    "LockedTokenizer",
    "OnBad",
    "Pulled",
    "Wanted",
    "check_file",
    "check_lock",
    "check_sources",
    "check_tokenizer",
    "default_lock_path",
    "differences",
    "fetch",
    "list_files",
    "locate",
    "lock_bytes",
    "locked_source",
    "make_lock",
    "name_partitions",
    "plan_download",
    "pull",
    "pull_missing",
    "read_lock",
    "write_lock",
]
