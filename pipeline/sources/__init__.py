"""Where documents come from: the lock of a mixture's sources, their download, their readers.

From a mixture it makes a `Lock` that pins every file by its digest, downloads what is missing, and
reads the documents of each file in file order.
"""

from pipeline.sources.download.download_plan import DownloadPlan, plan_download, scratch_folder
from pipeline.sources.download.fetch import fetch
from pipeline.sources.download.pull import PullCounts, pull
from pipeline.sources.lock.check import (
    check_lock,
    check_replaced,
    check_sources,
    check_tokenizer,
    differences,
    locked_source,
)
from pipeline.sources.lock.checksum import check_file
from pipeline.sources.lock.create import POOL, make_lock
from pipeline.sources.lock.lock import Lock, LockedSource, LockedTokenizer, locate, location_of
from pipeline.sources.lock.lock_file import (
    check_replaceable,
    default_lock_path,
    lock_digest,
    read_lock,
    write_lock,
)
from pipeline.sources.lock.pool_layout import PoolLayout
from pipeline.sources.lock.pulled_digests import (
    Pulled,
    known_digests,
    pulled_digests,
    record_digests,
    with_digests,
)
from pipeline.sources.partitions import (
    ARCHIVE,
    SUFFIXES,
    InputFile,
    group_files,
    kind_of,
    list_files,
    name_partitions,
)
from pipeline.sources.readers import (
    NAME_FIELD,
    SKIP_HINT,
    Decoding,
    FileReader,
    OnBad,
    Record,
    check_fields,
    field_of,
    first_line,
    names_in,
    read_fields,
)

__all__ = [
    "ARCHIVE",
    "NAME_FIELD",
    "POOL",
    "SKIP_HINT",
    "SUFFIXES",
    "Decoding",
    "DownloadPlan",
    "FileReader",
    "InputFile",
    "Lock",
    "LockedSource",
    "LockedTokenizer",
    "OnBad",
    "PoolLayout",
    "PullCounts",
    "Pulled",
    "Record",
    "check_fields",
    "check_file",
    "check_lock",
    "check_replaceable",
    "check_replaced",
    "check_sources",
    "check_tokenizer",
    "default_lock_path",
    "differences",
    "fetch",
    "field_of",
    "first_line",
    "group_files",
    "kind_of",
    "known_digests",
    "list_files",
    "locate",
    "location_of",
    "lock_digest",
    "locked_source",
    "make_lock",
    "name_partitions",
    "names_in",
    "plan_download",
    "pull",
    "pulled_digests",
    "read_fields",
    "read_lock",
    "record_digests",
    "scratch_folder",
    "with_digests",
    "write_lock",
]
