"""The lock: what was found at the origins of a mixture, once, so that a build can insist on it.

`make` asks the origins and writes nothing; `form` is the file; `compare` says what differs, and
refuses what was not locked; `place` says where a pulled file lies; `bytes` checks what is there.
"""

from pipeline.lock.bytes import Hasher, check_file
from pipeline.lock.compare import (
    check_lock,
    check_sources,
    check_tokenizer,
    differences,
    locked_source,
)
from pipeline.lock.form import default_lock_path, lock_bytes, read_lock, write_lock
from pipeline.lock.make import POOL, make_lock
from pipeline.lock.place import place
from pipeline.lock.values import Lock, LockedSource, LockedTokenizer

__all__ = [
    "POOL",
    "Hasher",
    "Lock",
    "LockedSource",
    "LockedTokenizer",
    "check_file",
    "check_lock",
    "check_sources",
    "check_tokenizer",
    "default_lock_path",
    "differences",
    "lock_bytes",
    "locked_source",
    "make_lock",
    "place",
    "read_lock",
    "write_lock",
]
