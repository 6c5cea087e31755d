"""Remote files: ranges of them over HTTP, and which there are in a repository of the Hub."""

from pipeline.remote.http import Client, Patience
from pipeline.remote.hub import HubFolder, check_local, is_remote
from pipeline.remote.ranges import RangeFile

__all__ = ["Client", "HubFolder", "Patience", "RangeFile", "check_local", "is_remote"]
