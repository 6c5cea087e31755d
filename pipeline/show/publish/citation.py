"""`CITATION.cff`: how the data set is cited.

Source: Citation File Format 1.2.0, https://github.com/citation-file-format/citation-file-format
"""

from typing import Any

import yaml

from pipeline.show.publish.published_facts import NOT_KNOWN, Facts


def citation(facts: Facts) -> str:
    """Return the file. Pure."""
    about, licence = facts.about, facts.licence
    fields: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this data set, please cite it as below.",
        "type": "dataset",
        "title": facts.title,
        # An entity has a name alone; who is a person is not known.
        "authors": [{"name": name} for name in about.authors or (NOT_KNOWN,)],
        "version": about.version,
        "date-released": about.date,
        "doi": about.doi,
        "url": about.url,
        "keywords": [*about.tags] if about.tags else None,
        # Other than single identifiers of the list the format does not know.
        "license": licence.spdx if licence and licence.identifiers == (licence.spdx,) else None,
        "identifiers": [
            {
                "type": "other",
                "value": f"sha256:{facts.digest}",
                "description": "Digest of the manifest, which pins every byte of the data.",
            }
        ],
    }
    given = {name: value for name, value in fields.items() if value is not None}
    text: str = yaml.safe_dump(given, sort_keys=False, width=10**6, allow_unicode=True)
    return text


def cite_as(facts: Facts) -> str:
    """Return a line to cite. Pure."""
    about = facts.about
    parts = [
        ", ".join(about.authors or (NOT_KNOWN,)),
        facts.title,
        about.version and f"version {about.version}",
        about.date,
        about.doi and f"https://doi.org/{about.doi}",
        f"sha256:{facts.digest}",
    ]
    return ". ".join(part for part in parts if part)
