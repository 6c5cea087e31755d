"""Raw head: the documents of a raw file of any kind that is read, which may be cut off anywhere.

A ranged download of a large file ends inside a line, and inside a frame of gzip or zstd. What the
readers of sources take for damage is the end of such a file.
"""

from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import DocumentError, InputError
from pipeline.sources import FileReader, InputFile, kind_of

_HINT = "give a file as Dolma has them: JSON lines of `id` and `text`; or a longer head of one"


class RawHead:
    """The documents of one file, which may be read several times."""

    def __init__(self, path: Path) -> None:
        """Look at the file. Raises: InputError for what is no file, or of no kind that is read."""
        if not path.is_file():
            got = "a folder" if path.is_dir() else "a pipe" if path.exists() else "nothing"
            raise InputError(f"{path}: got {got}, expected a file of documents", "name one file")
        kind = kind_of("--infer", str(path), path.name)
        name = path.name[: -len(kind)].replace("-", "_")
        self._file = InputFile(path=path, declared=str(path), partition=name, kind=kind)
        self.end = ""
        """Why the last reading stopped early; empty if the file was whole."""

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield the id and the text of each document; one without `id` has file and row for it.

        Raises: InputError where there is none, or where it goes on after one that is malformed.
        """
        # As in a build of them with `id: null`; that of a field takes the place of such an id.
        reader = FileReader(
            self._file, text_field="text", id_field=None, takes_empty=True, block_bytes=0
        )
        bad: list[DocumentError] = []
        problem = ""
        num_read = 0
        self.end = ""
        try:
            for [document] in reader.blocks(bad.append):
                if bad:
                    break
                num_read += 1
                told = document.metadata.get("id")
                id_ = _as_text(document.id if told is None else told)
                if id_ is None:
                    problem = (
                        f"{self._file.declared}: document {num_read}: got an id that is no text"
                    )
                    break
                yield id_, document.text
            else:
                # Only the last may be cut off.
                if num_read and len(bad) == 1 and bad[0].reason in ("invalid_json", "invalid_utf8"):
                    self.end = bad.pop().message
        except InputError as error:
            if not num_read:
                raise
            self.end = error.message
        if bad or problem:
            raise InputError(problem or bad[0].message, _HINT)
        if not num_read:
            raise InputError(f"{self._file.declared}: got no whole document", _HINT)


def _as_text(id_: object) -> str | None:
    """Return an id as a shard stores it; None for what is neither text nor a number."""
    if not isinstance(id_, (str, int)) or isinstance(id_, bool):
        return None
    try:
        str(id_).encode()
    except UnicodeEncodeError:
        return None
    return str(id_)
