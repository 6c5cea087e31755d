"""Saved file: a file of an earlier run, by what a record says of it, and whether it is still that.

One that was synced before its record was saved is while its size, mtime and inode are those of
then; any other if it has the bytes of the record.
"""

from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from pipeline.core.digest import FileDigest, TrustedDigest
from pipeline.core.mirrored import Mirror, mirror_of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SavedFile(FileDigest):
    """A file, as records are saved."""

    mtime_ns: int | None = None
    inode: int | None = None
    """Both None where the file system was not synced after it was written."""
    version: str | None = None
    """In the store that its folder is a mirror of."""

    @classmethod
    def of_written(cls, path: Path, file: FileDigest) -> "SavedFile":
        """Return a file that is about to be synced, with what shows whether it changes later."""
        num_bytes, mtime_ns, inode = facts_of(path) or (None, None, None)
        if num_bytes != file.num_bytes:
            # A task that a cluster started twice is replacing it.
            mtime_ns = inode = None
        return cls(num_bytes=file.num_bytes, sha256=file.sha256, mtime_ns=mtime_ns, inode=inode)

    def find(self, path: Path, *, hashes_all: bool) -> FileDigest | None:
        """Return what a path is if it is this file, else None.

        hashes_all: whether it is read, whatever its size, mtime and inode say.
        """
        if self._is_trusted(path, mirror_of(path), hashes_all=hashes_all):
            return TrustedDigest(num_bytes=self.num_bytes, sha256=self.sha256)
        if not self.matches(path):
            return None
        return FileDigest(num_bytes=self.num_bytes, sha256=self.sha256)

    def _is_trusted(self, path: Path, mirror: Mirror | None, *, hashes_all: bool) -> bool:
        if mirror is not None:
            if hashes_all:
                mirror.fetch(path, anew=True)
            return not hashes_all and self.version is not None and mirror.has(path, self.version)
        facts = None if hashes_all else facts_of(path)
        return facts is not None and facts == (self.num_bytes, self.mtime_ns, self.inode)


def facts_of(path: Path) -> tuple[int, int, int] | None:
    """Return size, mtime and inode of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino) if S_ISREG(status.st_mode) else None
