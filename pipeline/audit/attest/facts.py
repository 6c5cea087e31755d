"""Facts: what public pages say of released files, as they ship in `manifests/published`.

A fact belongs to a repository and a path; its revision is kept beside it. `import_published.py`
there makes the files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pipeline.core.bundled import bundled_folder
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json

FactKind = Literal["sha256", "num_tokens", "index", "stats", "listing", "size"]
_UNITS = {"Bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What a page says of a file or folder."""

    repo: str
    """On the Hub, org/name."""
    path: str
    """In the repository; of a file, or of a folder that is listed."""
    kind: FactKind
    value: Mapping[str, Any]
    """As the page has it: the content of the file, its digest and size, or names with sizes."""
    revision: str
    source: str
    """The page."""
    note: str
    """What the page cuts off."""

    @property
    def name(self) -> str:
        return f"{self.repo}/{self.path}"

    @property
    def is_complete(self) -> bool:
        """Whether an index has all its shards."""
        return self.value.get("complete", self.note.startswith("complete")) is True


def load_facts(folder: Path | None = None) -> dict[str, tuple[Fact, ...]]:
    """Return the facts by repository, each sorted by path; `folder` has others than those shipped.

    Raises: InputError for a file that holds something else.
    """
    facts = {}
    for path in sorted((folder or bundled_folder("manifests") / "published").glob("*.json")):
        try:
            content = parse_json(path.read_bytes())
            repo = content["repo"]
            facts[repo] = tuple(Fact(repo=repo, **one) for one in content["facts"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: got something else than published facts ({error})",
                "make it again with import_published.py",
            ) from error
    return facts


def rounded_size(text: object) -> tuple[Decimal, Decimal] | None:
    """Return the least and the most bytes of a size as a page shows it; None if it is no size.

    Units are decimal, and a size agrees within its last digit: 16.3 kB is 16,200 to 16,400 bytes.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) (Bytes|kB|MB|GB|TB)", str(text))
    if found is None:
        return None
    number, unit = Decimal(found[1]), _UNITS[found[2]]
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    slack = Decimal(0) if unit == 1 else Decimal(10) ** exponent * unit
    return number * unit - slack, number * unit + slack
