"""Manifests: what was made, pinned to bytes.

The same inputs give the same manifest, to the byte; times and hosts are in the log. A manifest
carries its own digest and has one spelling, so a change of any byte of it is seen.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core.digest import canonical_json, sha256_bytes
from pipeline.core.errors import MismatchError

FORMAT = "ettin-manifest-v1"
Manifest = dict[str, Any]
"""JSON-able; its keys are described in `docs/spec/manifest.md`."""


def manifest_bytes(content: Manifest) -> bytes:
    """Serialise a manifest, its digest added."""
    content = {key: value for key, value in content.items() if key != "digest"}
    content["digest"] = sha256_bytes(canonical_json(content))
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and check that it is whole.

    Raises: MismatchError when it is missing or is not what was written.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MismatchError(
            f"{path}: cannot be read: {error.strerror}", "build again to write it"
        ) from error
    try:
        content = json.loads(data)
        whole = content["format"] == FORMAT and manifest_bytes(content) == data
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise MismatchError(
            f"{path}: is not as it was written: its digest does not match its content",
            "build again to write it",
        )
    try:
        shaped = _is_shaped(content)
    except (TypeError, KeyError, AttributeError):
        shaped = False
    if not shaped:
        raise MismatchError(
            f"{path}: got a manifest of {content.get('code')} that lacks what this version reads",
            "build again to write it",
        )
    manifest: Manifest = content
    return manifest


def _is_shaped(content: Manifest) -> bool:
    """Tell whether what is read from a manifest is there, and leads nowhere outside the output.

    Raises: KeyError, TypeError or AttributeError where it is not there.
    """
    paths = [*content["files"], *(window["folder"] for window in content["order"]["windows"])]
    for about in content["files"].values():
        if not (isinstance(about["bytes"], int) and isinstance(about["sha256"], str)):
            return False
    for source in content["sources"].values():
        for record in source["partitions"]:
            paths += [record["task"], record["folder"], *record["files"]]
    order = content["order"]
    for window in order["windows"]:
        if not isinstance(window["first_row"] + window["num_rows"], int):
            return False
    told = {"key", "format", "view", "ledger", "num_samples", "num_rows"} <= order.keys()
    told = told and {"cls_id", "sep_id"} <= content["tokenizer"].keys()
    named = isinstance(content["mixture"]["fingerprint"], str)
    return told and named and all(_is_inside(path) for path in paths)


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and not path.startswith("/")
