"""Remote files: ranges of them over HTTP, and which there are in a repository of the Hub."""

from pipeline.storage.http import Client, MissingError, Patience, TroubleError, persist
from pipeline.storage.hub import HubFiles
from pipeline.storage.hub_repository import HubFile, HubFolder, Repository, check_local, is_remote
from pipeline.storage.local import LocalFiles, match_files
from pipeline.storage.object_store import StoreFiles, list_store, local_path
from pipeline.storage.open_origin import open_origin
from pipeline.storage.patterns import spell_out
from pipeline.storage.protocol import OpenOrigin, OriginFile
from pipeline.storage.ranges import RangeFile, Ranges, RemoteFile, version
from pipeline.storage.web import UrlFiles

__all__ = [
    "Client",
    "HubFile",
    "HubFiles",
    "HubFolder",
    "LocalFiles",
    "MissingError",
    "OpenOrigin",
    "OriginFile",
    "Patience",
    "RangeFile",
    "Ranges",
    "RemoteFile",
    "Repository",
    "StoreFiles",
    "TroubleError",
    "UrlFiles",
    "check_local",
    "is_remote",
    "list_store",
    "local_path",
    "match_files",
    "open_origin",
    "persist",
    "spell_out",
    "version",
]
