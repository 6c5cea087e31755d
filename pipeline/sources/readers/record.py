"""What readers of all formats share: records, the columns they need, and what may be wrong."""

from dataclasses import dataclass
from typing import Any, Final

from pipeline.core.errors import DocumentError, InputError

SKIP_HINT: Final = (
    "fix the document, or count such documents instead with `on_error: skip` (that is another "
    "mixture, so give it another --out)"
)

Record = tuple[dict[str, Any] | DocumentError, int]
"""Fields by name, or why there are none; and about how many bytes they have.

Of text and id, strings may be UTF-8 that is not checked, since a bad document is no damaged file.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Where a file has the text and the id of a document."""

    text: str
    """The field that holds the text."""
    id: str | None
    """The field that holds the id; None makes ids of partition and row."""
    has_ids: bool = False
    """Whether the text is stored as token ids."""

    def check(self, where: str, names: list[str]) -> None:
        """Insist that the columns of a file have both. Raises: InputError."""
        for needed in (self.text, self.id):
            if needed is not None and needed not in names:
                raise InputError(
                    f'{where}: got columns {", ".join(names)}, expected "{needed}"',
                    "name the columns with from.text and from.id (null makes ids)",
                )


class DamagedError(Exception):
    """A file is damaged: the form that is broken, and how."""

    def __init__(self, form: str, reason: object) -> None:
        super().__init__(form, reason)
        # Arrow's messages may run over several lines.
        self.form, self.reason = form, " ".join(str(reason).split())


def invalid_utf8(error: UnicodeDecodeError, where: str) -> DocumentError:
    """Return the error for bytes that are not UTF-8."""
    return DocumentError(
        f"{where}: invalid UTF-8 at byte {error.start}: {error.reason}", SKIP_HINT, "invalid_utf8"
    )
