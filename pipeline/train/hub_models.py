"""Models on the Hub: one is downloaded, or exports are pushed, a tag for each checkpoint."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from pipeline.core.errors import ConfigError, InputError, OutputError
from pipeline.core.json_record import parse_json
from pipeline.storage import check_hub_library, explain_hub

_ADDRESS: Final = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^/]+))?/?")
PROVENANCE: Final = "provenance.json"
# Every repository has these from its first commit on.
_BEGUN: Final = {".gitattributes", "README.md"}


def is_hub_model(where: str | Path) -> bool:
    return str(where).startswith("hf://")


def parse_hub_model(address: str) -> tuple[str, str | None]:
    """Return the repository, and the revision if there is one. Raises: ConfigError."""
    match = _ADDRESS.fullmatch(address)
    if match is None or match[1].startswith("datasets/"):
        raise ConfigError(
            f"{address}: got an address of another form, expected hf://ORG/NAME[@REVISION], a model"
        )
    return match[1], None if match[2] is None else unquote(match[2])


def download_model(address: str, files: Sequence[str]) -> Path:
    """Download files of a model into the cache of the Hub; return their folder.

    Raises: ConfigError for another address; InputError or NetworkError when it cannot be read.
    """
    name, revision = parse_hub_model(address)
    check_hub_library("a model")
    from huggingface_hub import snapshot_download

    with explain_hub(address, InputError):
        return Path(snapshot_download(name, revision=revision, allow_patterns=[*files]))


def repository_to_push(address: str) -> str:
    """Raises: ConfigError for an address of another form or with a revision, or no library."""
    name, revision = parse_hub_model(address)
    if revision is not None:
        raise ConfigError(f"--push {address}: got a revision, expected none: each tag is one")
    check_hub_library("a model")
    return name


def push_exports(
    exports: Sequence[Path], address: str, report: Callable[[str, bool], None]
) -> tuple[int, int]:
    """Push exports as commits, each with a tag of the name of its checkpoint; the last is `main`.

    A tag that has the same checkpoint is kept, so a push that was interrupted goes on. `report` is
    called with each tag, and whether it was new. Returns how many are new, and how many were there.

    Raises: as `repository_to_push`; OutputError when the repository holds something else, a tag is
    of another checkpoint, or the Hub refuses; NetworkError.
    """
    name = repository_to_push(address)
    from huggingface_hub import HfApi

    api = HfApi()
    with explain_hub(address, OutputError):
        api.create_repo(name, exist_ok=True)
        _check_is_ours(api, name, address)
        tags = {one.name for one in api.list_repo_refs(name).tags}
    num_new = 0
    for export in exports:
        record = parse_json((export / PROVENANCE).read_bytes())
        tag = record["checkpoint"]
        with explain_hub(f"{address}@{tag}", OutputError):
            if tag in tags:
                _check_tag(api, name, tag, address, record["checkpoint_digest"])
            else:
                # What another kind of model has more than this one goes with its commit.
                commit = api.upload_folder(
                    repo_id=name, folder_path=export, commit_message=tag, delete_patterns=["*"]
                )
                api.create_tag(name, tag=tag, revision=commit.oid)
                num_new += 1
        report(tag, tag not in tags)
    return num_new, len(exports) - num_new


def _check_is_ours(api: Any, name: str, address: str) -> None:
    files = {*api.list_repo_files(name)}
    if PROVENANCE not in files and files - _BEGUN:
        some = ", ".join(sorted(files - _BEGUN)[:3])
        raise OutputError(
            f"{address}: got a repository with {some}, expected an empty one, or one of exports",
            "name a repository that is not there yet",
        )


def _check_tag(api: Any, name: str, tag: str, address: str, digest: str) -> None:
    path = api.hf_hub_download(name, PROVENANCE, revision=tag)
    found = parse_json(Path(path).read_bytes()).get("checkpoint_digest")
    if found != digest:
        raise OutputError(
            f"{address}@{tag}: got the checkpoint {found}, expected {digest}",
            "name another repository, or remove the tag first",
        )
