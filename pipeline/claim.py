"""Claim: makes an output folder ours for one build at a time, and brings back its state.

A folder belongs to one mixture. A finished one gives its records back from the manifest, so that a
second build keeps what is intact and makes again what is not.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import MismatchError, OutputError
from pipeline.files import publish
from pipeline.layout import MANIFEST, STATE, STEPS, State
from pipeline.manifest import Manifest, read_manifest
from pipeline.mixture import Mixture
from pipeline.shards.parquet import read_steps
from pipeline.steps import Window, split_files
from pipeline.task import is_intact, save_record


@contextmanager
def claim(out: Path, mixture: Mixture) -> Iterator[State]:
    """Hold an output folder for a build of this mixture.

    Raises: OutputError when the folder holds anything else, or another build is at work in it.
    """
    state = State(out=out)
    _check_owner(state, mixture)
    try:
        state.root.mkdir(parents=True, exist_ok=True)
        lock = (state.root / "lock").open("w")
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written: {error.strerror}", "choose another --out"
        ) from error
    with lock:
        try:
            # Released by the system when this process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{out}: another build is at work here", "wait for it") from error
        shutil.rmtree(state.scratch, ignore_errors=True)
        with publish(state.owner, state.scratch) as temporary:
            temporary.write_text(json.dumps({"fingerprint": mixture.fingerprint}))
        _unpack_manifest(state)
        yield state


def _check_owner(state: State, mixture: Mixture) -> None:
    out = state.out
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: got a file, expected a folder", "choose another --out")
    manifest = _read_json(out / MANIFEST)
    if manifest is not None and isinstance(manifest.get("mixture"), dict):
        found = manifest["mixture"].get("fingerprint")
    else:
        found = (_read_json(state.owner) or {}).get("fingerprint")
    if found == mixture.fingerprint:
        return
    if found is not None:
        raise OutputError(
            f"{out}: holds another mixture (fingerprint {str(found)[:12]}…, this one is "
            f"{mixture.fingerprint[:12]}…)",
            "choose another --out, or remove the folder",
        )
    if out.is_dir() and any(path.name != STATE for path in out.iterdir()):
        raise OutputError(
            f"{out}: is not empty and holds no build that can be told",
            "choose another --out, or empty the folder",
        )


def _unpack_manifest(state: State) -> None:
    """Turn a manifest back into the records that it was made of."""
    path = state.out / MANIFEST
    if not path.exists():
        return
    try:
        manifest = read_manifest(path)
    except MismatchError:
        # Of a damaged manifest nothing is believed; everything is made again.
        path.unlink()
        return
    for source in manifest["sources"].values():
        for record in source["partitions"]:
            files = {file: manifest["files"][file] for file in record["files"]}
            save_record(state, record["task"], {**record, "files": files})
    _unpack_order(state, manifest)
    path.unlink()


def _unpack_order(state: State, manifest: Manifest) -> None:
    if not is_intact(state.out / STEPS, manifest["files"][STEPS]):
        return
    steps = read_steps(state.out / STEPS)
    for described in manifest["order"]["windows"]:
        for file in split_files(Window(**described)):
            part = slice(file.first_step, file.first_step + file.num_steps)
            record = {
                "key": manifest["order"]["key"],
                "num_tokens": [row["num_tokens"] for row in steps[part]],
                "sha256": [row["sha256"] for row in steps[part]],
                "files": {file.path: manifest["files"][file.path]},
            }
            save_record(state, file.path, record)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
