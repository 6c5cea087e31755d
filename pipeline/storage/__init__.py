"""Where bytes lie: on disk, on the Hub, at web addresses, in object stores.

For an `Origin` of a mixture, or an address, it lists the files at one revision, with size and
digest, and reads the bytes of any of them by ranges, with retries.
"""

from pipeline.storage.ask_hub import HubAnswer, ask_hub
from pipeline.storage.http import Client, MissingError, host_of
from pipeline.storage.hub import check_is_path, is_hub_address, open_hub_folder, parse_hub_address
from pipeline.storage.hub_errors import check_hub_library, explain_hub
from pipeline.storage.hub_repository import HubRepository
from pipeline.storage.lease import holding
from pipeline.storage.local import MatchedFiles, OnMissing, match_files
from pipeline.storage.local_glob import fixed_folder, reach_files
from pipeline.storage.mirror import StoreMirror
from pipeline.storage.object_store import local_path, open_object_folder
from pipeline.storage.open_store import RemoteStore, open_remote_store, open_store
from pipeline.storage.patterns import expand_addresses, expand_braces, match_paths
from pipeline.storage.ranges import HttpFile, RangeFile, RemoteFolder, size_and_version
from pipeline.storage.retry import RetryPolicy, map_concurrently
from pipeline.storage.store import (
    LOCK_AGAIN,
    Store,
    StoredFile,
    is_sha256,
    restore_hint,
    unreadable,
)
from pipeline.storage.writable_store import is_store_address, open_writable

__all__ = [
    "LOCK_AGAIN",
    "Client",
    "HttpFile",
    "HubAnswer",
    "HubRepository",
    "MatchedFiles",
    "MissingError",
    "OnMissing",
    "RangeFile",
    "RemoteFolder",
    "RemoteStore",
    "RetryPolicy",
    "Store",
    "StoreMirror",
    "StoredFile",
    "ask_hub",
    "check_hub_library",
    "check_is_path",
    "expand_addresses",
    "expand_braces",
    "explain_hub",
    "fixed_folder",
    "holding",
    "host_of",
    "is_hub_address",
    "is_sha256",
    "is_store_address",
    "local_path",
    "map_concurrently",
    "match_files",
    "match_paths",
    "open_hub_folder",
    "open_object_folder",
    "open_remote_store",
    "open_store",
    "open_writable",
    "parse_hub_address",
    "reach_files",
    "restore_hint",
    "size_and_version",
    "unreadable",
]
