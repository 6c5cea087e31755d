"""`croissant.json`: files with checksums, columns and provenance of a data set, as JSON-LD.

Source: Croissant 1.1 and its vocabulary for responsible AI, http://mlcommons.org/croissant/1.1 and
http://mlcommons.org/croissant/RAI/1.0, as the package `mlcroissant` 1.1 reads them; PROV-O,
https://www.w3.org/TR/prov-o/.
"""

import json
import warnings
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import lacks_memory
from pipeline.dataset import ORDER
from pipeline.show.publish.citation import cite_as
from pipeline.show.publish.licences import Licence, spdx_page
from pipeline.show.publish.published_facts import NOT_KNOWN, Facts, SourceFacts

# The terms that files of version 1.1 declare.
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract"),
            *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source"),
            *("subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
_CONFORMS_TO: Final = (
    "http://mlcommons.org/croissant/1.1",
    "http://mlcommons.org/croissant/RAI/1.0",
)
_PARQUET: Final = "application/x-parquet"
_FORMATS: Final = {".parquet": _PARQUET, ".json": "application/json"}
_OTHER: Final = "application/octet-stream"
_ROW_FILES: Final = "row-files"


def croissant(facts: Facts) -> str:
    """Return the file. Pure."""
    about, manifest = facts.about, facts.manifest
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(_CONFORMS_TO),
        "name": facts.title,
        "description": (about.description or "").strip() or NOT_KNOWN,
        "license": _licences(facts),
        "url": about.url,
        "version": about.version,
        "datePublished": about.date,
        "citeAs": cite_as(facts),
        "creator": [{"@type": "Person", "name": name} for name in about.authors or ()],
        "publisher": about.provider.name and {"@type": "Organization", "name": about.provider.name},
        "keywords": list(about.tags or ()),
        "inLanguage": list(about.language or ()),
        **_responsible(facts),
        "distribution": _distribution(facts),
        "recordSet": _record_sets(facts),
        "prov:wasDerivedFrom": [_entity(facts, one) for one in facts.sources],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "@id": f"build/{manifest.mixture.fingerprint}",
            "prov:used": [f"mixture fingerprint {manifest.mixture.fingerprint}", *_lock(facts)],
            "prov:wasAssociatedWith": manifest.code,
        },
    }
    return json.dumps(_given(content), indent=1) + "\n"


def validate_croissant(path: Path) -> str | None:
    """Return why `mlcroissant` refuses a file; None where it does not. Reads no file of rows."""
    with warnings.catch_warnings():
        # Its parser of JSON-LD deprecates what it calls itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _refusal(path)


def _refusal(path: Path) -> str | None:
    import mlcroissant
    from absl import logging

    # What is recommended and not known is a warning there, and listed by `bundle` itself.
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        mlcroissant.Dataset(jsonld=str(path))
    except Exception as error:
        # Of each kind of damage, it and its parser of JSON-LD raise another error.
        if lacks_memory(error):
            raise
        return " ".join(str(error).split())[:300] or type(error).__name__
    finally:
        logging.set_verbosity(verbosity)
    return None


def _given(value: Any) -> Any:
    """Return values without what is not known."""
    if isinstance(value, dict):
        return {name: _given(one) for name, one in value.items() if one not in (None, "", [], ())}
    return [_given(one) for one in value] if isinstance(value, list) else value


def _address(licence: Licence) -> str:
    return spdx_page(licence.identifiers[0]) if len(licence.identifiers) == 1 else licence.name


def _licences(facts: Facts) -> list[str]:
    if facts.licence is not None:
        return [_address(facts.licence)]
    stated = {_address(one.licence) for one in facts.sources if one.licence is not None}
    return sorted(stated) or [NOT_KNOWN]


def _lock(facts: Facts) -> list[str]:
    return [] if facts.manifest.lock is None else [f"lock sha256:{facts.manifest.lock}"]


def _responsible(facts: Facts) -> dict[str, Any]:
    told, processing = facts.about.responsible, facts.about.processing
    protocol = [one for one in (processing.illegal_content, processing.other) if one]
    return {
        "rai:dataCollection": told.collection,
        "rai:dataUseCases": list(told.uses or ()),
        "rai:dataBiases": list(told.biases or ()),
        "rai:dataLimitations": list(told.limitations or ()),
        "rai:personalSensitiveInformation": list(told.personal_information or ()),
        "rai:dataSocialImpact": told.social_impact,
        "rai:dataReleaseMaintenancePlan": told.maintenance,
        "rai:dataPreprocessingProtocol": protocol,
    }


def _distribution(facts: Facts) -> list[dict[str, Any]]:
    """Return every file of ordered rows, and the set of them that the rows are read from.

    The set is in nothing, so it is of the folder of this file; in a set of single files
    `mlcroissant` finds no rows.
    """
    files: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "contentSize": f"{digest.num_bytes} B",
            "encodingFormat": _FORMATS.get(Path(path).suffix, _OTHER),
            "sha256": digest.sha256,
        }
        for path, digest in facts.ordered_files.items()
    ]
    if facts.is_parquet:
        files.append(
            {
                "@type": "cr:FileSet",
                "@id": _ROW_FILES,
                "name": _ROW_FILES,
                "description": "The files of ordered rows.",
                "encodingFormat": _PARQUET,
                "includes": f"{ORDER}/*/*.parquet",
            }
        )
    return files


def _record_sets(facts: Facts) -> list[dict[str, Any]]:
    if not facts.is_parquet:
        return []
    columns = [
        {
            "@type": "cr:Field",
            "@id": "rows/input_ids",
            "name": "input_ids",
            "description": "Token ids of the row.",
            "dataType": "cr:UInt32",
            "isArray": True,
            "arrayShape": "-1",
            "source": _column("input_ids"),
        },
        {
            "@type": "cr:Field",
            "@id": "rows/step",
            "name": "step",
            "description": "Step that takes the row, from 1 in each folder.",
            "dataType": "cr:Int64",
            "source": _column("step"),
        },
    ]
    return [
        {
            "@type": "cr:RecordSet",
            "@id": "rows",
            "name": "rows",
            "description": "The rows in training order.",
            "field": columns,
        }
    ]


def _column(name: str) -> dict[str, Any]:
    return {"fileSet": {"@id": _ROW_FILES}, "extract": {"column": name}}


def _entity(facts: Facts, source: SourceFacts) -> dict[str, Any]:
    return {
        "@type": "prov:Entity",
        "@id": f"source/{source.name}",
        "name": source.name,
        "description": source.about.description or source.origin,
        "url": source.url,
        "version": source.revision,
        "license": None if source.licence is None else _address(source.licence),
    }
