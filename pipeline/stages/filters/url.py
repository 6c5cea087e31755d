"""The URL filter: `datatrove` with its own lists of domains and words, and a mixture's.

The lists are read from the package and from files that the mixture names, and domains are split by
the suffixes that `tldextract` ships. datatrove itself would unpack its lists into a cache in the
user's home, and tldextract fetch newer suffixes: neither would be the same everywhere.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pipeline.config import Url
from pipeline.core.document import Document
from pipeline.core.errors import ConfigError
from pipeline.stages.filters.verdict import Drop, Judge

LISTS: Final = (
    "extra_domains",
    "extra_urls",
    "banned_words",
    "banned_subwords",
    "soft_banned_words",
)
"""Options that name files."""
_PACKED: Final = "url_filterblacklistsv0_3_0.tar.gz"
_IN_PACKED: Final = {"extra_domains": "domains", "extra_urls": "urls"}
_NO_URL: Final = Drop("no_url", "has no field url, which its filter judges by")


def judge_url(options: Url, folder: Path) -> Judge:
    """Return the URL filter."""
    from datatrove.data import Document as TheirDocument
    from datatrove.pipeline.filters import URLFilter
    from tldextract import TLDExtract

    lists = {name: _entries(options, name, folder) for name in LISTS}
    # Their own lists are among those given, so theirs must not unpack them again.
    theirs = URLFilter(options.soft_word_threshold, use_integrated_lists=False, **lists)
    theirs.tldextractor = TLDExtract(cache_dir=None, suffix_list_urls=())

    def judge(document: Document) -> Document | Drop:
        url = find_url(document.metadata)
        if not url:
            return _NO_URL
        shown = TheirDocument(text=document.text, id=document.id, metadata={"url": url})
        verdict = theirs.filter(shown)
        return document if verdict is True else Drop(verdict[1])

    return judge


def find_url(fields: dict[str, Any]) -> str | None:
    """Return the field `url` of a record, or of its field `metadata`, as datatrove's readers do."""
    inner = fields.get("metadata")
    url = (
        fields["url"] if "url" in fields else inner.get("url") if isinstance(inner, dict) else None
    )
    return url if isinstance(url, str) else None


def _entries(options: Url, name: str, folder: Path) -> list[str]:
    """Return the lines of a list. An empty one is left out: it would be part of every address."""
    declared = getattr(options, name)
    lines = _read(name, folder / declared).split("\n") if declared else []
    if options.use_integrated_lists:
        with _integrated(name) as file:
            lines.extend(file)
    return [line for line in lines if line.strip()]


def _read(name: str, path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"filters: url.{name}: {path}: got {error}, expected a list in UTF-8, one entry a line"
        ) from error


@contextmanager
def _integrated(name: str) -> Iterator[io.TextIOBase]:
    from datatrove.utils._import_utils import ASSETS_PATH

    assets = Path(ASSETS_PATH)
    if name not in _IN_PACKED:
        with (assets / f"{name}.txt").open(encoding="utf-8") as file:
            yield file
        return
    with tarfile.open(assets / _PACKED) as packed:
        member = packed.extractfile(_IN_PACKED[name])
        assert member is not None
        yield io.TextIOWrapper(member, "utf-8")
