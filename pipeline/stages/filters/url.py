"""The URL filter of `datatrove`, with its own lists of domains and words and those of a mixture.

By themselves datatrove would cache its lists in the user's home and tldextract download newer
suffixes of domains, which would differ between machines.
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
"""The options that name files."""
_PACKED: Final = "url_filterblacklistsv0_3_0.tar.gz"
_IN_PACKED: Final = {"extra_domains": "domains", "extra_urls": "urls"}
_NO_URL: Final = Drop("no_url", "has no field url, which its filter judges by")


def judge_url(options: Url, folder: Path) -> Judge:
    from datatrove import data
    from datatrove.pipeline.filters import URLFilter
    from tldextract import TLDExtract

    lists = {name: _entries(options, name, folder) for name in LISTS}
    # `lists` include the integrated ones, which datatrove must not unpack again.
    url_filter = URLFilter(options.soft_word_threshold, use_integrated_lists=False, **lists)
    url_filter.tldextractor = TLDExtract(cache_dir=None, suffix_list_urls=())

    def judge(document: Document) -> Document | Drop:
        url = find_url(document.metadata)
        if not url:
            return _NO_URL
        shown = data.Document(text=document.text, id=document.id, metadata={"url": url})
        verdict = url_filter.filter(shown)
        return document if verdict is True else Drop(verdict[1])

    return judge


def find_url(fields: dict[str, Any]) -> str | None:
    """Return the field `url` of a record, or of its field `metadata`, as datatrove's readers do."""
    inner = fields.get("metadata")
    if "url" not in fields and isinstance(inner, dict):
        fields = inner
    url = fields.get("url")
    return url if isinstance(url, str) else None


def _entries(options: Url, name: str, folder: Path) -> list[str]:
    """Return the lines of a list, without blank ones, which every URL would contain."""
    declared = getattr(options, name)
    lines: list[str] = []
    if declared:
        path = folder / declared
        try:
            lines = path.read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"filters: url.{name}: {path}: got {error}, expected a list in UTF-8, one entry a"
                " line",
                guide="docs/guide/filters.md#url",
            ) from error
    if options.use_integrated_lists:
        with _integrated(name) as file:
            lines.extend(file)
    return [line for line in lines if line.strip()]


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
