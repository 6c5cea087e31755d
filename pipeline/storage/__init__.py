"""Remote files: ranges of them over HTTP, and which there are in a repository of the Hub."""

from pipeline.storage.http import Client, MissingError, RetryPolicy, TransientError, persist
from pipeline.storage.hub import HubStore
from pipeline.storage.hub_repository import HubFile, HubFolder, Repository, check_local, is_remote
from pipeline.storage.local import LocalStore, match_files
from pipeline.storage.object_store import ObjectStore, list_objects, local_path
from pipeline.storage.open_store import open_store
from pipeline.storage.patterns import expand_braces
from pipeline.storage.ranges import HttpFile, RangeFile, RemoteFile, version
from pipeline.storage.store import Store, StoredFile
from pipeline.storage.web import WebStore

__all__ = [
    "Client",
    "HttpFile",
    "HubFile",
    "HubFolder",
    "HubStore",
    "LocalStore",
    "MissingError",
    "ObjectStore",
    "RangeFile",
    "RemoteFile",
    "Repository",
    "RetryPolicy",
    "Store",
    "StoredFile",
    "TransientError",
    "WebStore",
    "check_local",
    "expand_braces",
    "is_remote",
    "list_objects",
    "local_path",
    "match_files",
    "open_store",
    "persist",
    "version",
]
