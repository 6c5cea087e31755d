"""Remote files: ranges of them over HTTP, and which there are in a repository of the Hub."""

from pipeline.remote.http import Client, MissingError, Patience, TroubleError, persist
from pipeline.remote.hub import HubFile, HubFolder, Repository, check_local, is_remote
from pipeline.remote.ranges import RangeFile, Ranges, RemoteFile, version

__all__ = [
    "Client",
    "HubFile",
    "HubFolder",
    "MissingError",
    "Patience",
    "RangeFile",
    "Ranges",
    "RemoteFile",
    "Repository",
    "TroubleError",
    "check_local",
    "is_remote",
    "persist",
    "version",
]
