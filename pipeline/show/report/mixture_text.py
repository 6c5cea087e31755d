"""The mixture of a build as the text of a file that builds the same bytes."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.config import load_config
from pipeline.core.errors import PipelineError
from pipeline.dataset import Manifest
from pipeline.show.report.unseen import UNSEEN
from pipeline.show.shown_order import Shown

_MOST_DECLARED: Final = 300_000
"""Characters of a mixture that is printed whole."""
_LIKE_A_NUMBER: Final = re.compile(r"[-+.]*[0-9][\w.+-]*")


def declared_mixture(shown: Shown) -> dict[str, Any]:
    """Return what was built, as text, and whether that is a mixture file that builds the same.

    Raises: as `Shown.need_manifest`.
    """
    manifest = shown.need_manifest()
    record = manifest.mixture
    declaration = manifest.mixture.declaration
    text = manifest_mixture(manifest)
    is_short = len(text) <= _MOST_DECLARED
    return {
        "text": text if is_short else None,
        "is_mixture": is_short and _fingerprint_of(text) == record.fingerprint,
        "settings": [*_settings(declaration)] if "pool" in declaration else None,
        "code": manifest.code,
        "has_lock": manifest.lock is not None,
    }


def manifest_mixture(manifest: Manifest) -> str:
    """Return what a manifest declares as the text of a mixture file, as `mixture_text`. Pure."""
    return mixture_text(_allowing(manifest))


def _allowing(manifest: Manifest) -> dict[str, Any]:
    """Return a declaration with what lets its build end: it decides no byte, so none has it."""
    declaration, order = dict(manifest.mixture.declaration), manifest.order
    if order.num_tokens_cut or order.num_tokens_beyond:
        declaration["order"] = {**declaration["order"], "allow_cut": True}
    has_dropped = any(one.documents.dropped for one in manifest.sources.values())
    if declaration.get("on_error") == "skip" and has_dropped:
        declaration["max_bad"] = 1
    return declaration


class _Dumper(yaml.SafeDumper):
    """Quotes what only YAML 1.1 reads as text, such as 1e3, which a mixture file may not have."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _LIKE_A_NUMBER.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted)


def mixture_text(declaration: Mapping[str, Any]) -> str:
    """Return a declaration, defaults filled in, as the text of a mixture file. Pure.

    Where it has characters that cannot be seen, and so not be copied, it is spelled in ASCII.
    """
    given = _given(declaration)
    text: str = yaml.dump(given, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    if UNSEEN.search(text):
        text = yaml.dump(given, Dumper=_Dumper, sort_keys=False, width=100)
    return text


def _given(value: Any) -> Any:
    """Return a declaration without keys that are not set; only `id` means something as null."""
    if isinstance(value, list):
        return [_listed(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {name: _given(one) for name, one in value.items() if one is not None or name == "id"}


def _settings(declaration: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield what a replay declares, without its pool, as values of `--set`."""
    for name, value in declaration.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{above}{name}.")
        elif value is not None and name != "pool":
            yield shlex.quote(f"{above}{name}={json.dumps(value, ensure_ascii=False)}")


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping) and value.keys() == {"name", "options"}:
        # A filter, of which a mixture gives the options by its name.
        return {value["name"]: _given(value["options"])}
    return _given(value)


def _fingerprint_of(text: str) -> str | None:
    """Return the fingerprint of the text of a mixture file; None where it is none by itself.

    A replay does not declare its pool, and what is held out of a build is no mixture.
    """
    try:
        return load_config(Path("mixture.yaml"), text=text.encode()).fingerprint
    except PipelineError:
        return None
