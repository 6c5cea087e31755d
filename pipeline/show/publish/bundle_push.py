"""Push: a bundle -> a data set on the Hub, as one commit; a plan of it first.

Large files go before the commit, which names them by sha256. After a break the Hub says which of
them it has, so a second push sends the others alone; readers see the old commit or the new one.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.core.digest import FileDigest
from pipeline.core.errors import ConfigError, InputError, MismatchError, OutputError
from pipeline.core.progress import ReportProgress, Work, no_progress
from pipeline.show.publish.bundle_check import check_files
from pipeline.show.publish.bundle_record import BUNDLE, CARD, read_record
from pipeline.show.publish.sign import ATTRIBUTES, SIGNATURE
from pipeline.storage import check_hub_library, explain_hub, parse_hub_address

_KIND: Final = "dataset"
_MAIN: Final = "main"
# The Hub makes these itself, and a repository begins with them.
_BEGUN: Final = {ATTRIBUTES, CARD}
# The library sends five of them in parallel.
_FILES_AT_ONCE: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PushPlan:
    """What a push would do."""

    address: str
    name: str
    branch: str
    head: str | None
    """The commit that it goes on; None where there is no such repository."""
    has_branch: bool
    files: dict[str, FileDigest]
    """All files of the bundle, sorted."""
    kept: tuple[str, ...]
    """Those that are there already, with the same bytes."""
    removed: tuple[str, ...]
    """What is there and not in the bundle."""

    @property
    def sent(self) -> tuple[str, ...]:
        return tuple(name for name in self.files if name not in self.kept)

    @property
    def num_bytes(self) -> int:
        """Of the files to send."""
        return sum(self.files[name].num_bytes for name in self.sent)


def plan_push(folder: Path, address: str) -> PushPlan:
    """Compare a bundle, all of whose files are hashed, with a data set; nothing is changed.

    Raises: ConfigError for another address; InputError, MismatchError for what is no whole bundle;
    OutputError where the repository holds something else, or the Hub refuses; NetworkError.
    """
    name, branch = _destination(address)
    check_hub_library("a data set")
    record = read_record(folder)
    if complaints := check_files(folder, record):
        raise MismatchError(
            f"{folder}: {complaints[0]}", f"ettin-data bundle --check {folder} lists all of them"
        )
    files = dict(record.files)
    for own in (BUNDLE, SIGNATURE):
        if (folder / own).is_file():
            files[own] = FileDigest.of(folder / own)
    with explain_hub(address, OutputError):
        head, has_branch, there = _look(name, branch)
    _check_is_ours(address, there)
    kept = [one for one in files if one in there and _is_same(folder / one, files[one], there[one])]
    return PushPlan(
        address=address,
        name=name,
        branch=branch,
        head=head,
        has_branch=has_branch,
        files=dict(sorted(files.items())),
        kept=tuple(sorted(kept)),
        removed=tuple(sorted(there.keys() - files.keys() - {ATTRIBUTES})),
    )


def push_bundle(folder: Path, plan: PushPlan, report: ReportProgress = no_progress) -> str:
    """Upload what a plan lists, as one commit; return the commit. A new repository is private.

    report: gets the files that were sent, of those to send, and their bytes.

    Raises: OutputError where the Hub refuses, or has other bytes afterwards; NetworkError.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    with explain_hub(plan.address, OutputError), _without_bars():
        if plan.head is None:
            api.create_repo(plan.name, repo_type=_KIND, private=True, exist_ok=True)
        if not plan.has_branch and plan.branch != _MAIN:
            api.create_branch(plan.name, repo_type=_KIND, branch=plan.branch, exist_ok=True)
        added = [CommitOperationAdd(one, str(folder / one)) for one in plan.sent]
        if added or plan.removed:
            _send_large(api, plan, added, report)
            api.create_commit(
                plan.name,
                [*added, *map(CommitOperationDelete, plan.removed)],
                commit_message="ettin-data bundle",
                repo_type=_KIND,
                revision=plan.branch,
                parent_commit=plan.head if plan.has_branch else None,
            )
        head, _, there = _look(plan.name, plan.branch)
    for one, digest in plan.files.items():
        if one not in there or not _is_same(folder / one, digest, there[one]):
            raise OutputError(f"{plan.address}: {one}: has other bytes there after the push")
    return str(head)


def _send_large(api: Any, plan: PushPlan, added: list[Any], report: ReportProgress) -> None:
    """Send the large files, some at a time; the commit itself carries the small ones."""
    num_bytes = 0
    for first in range(0, len(added), _FILES_AT_ONCE):
        report("push", first, len(added), Work(unit="files", num_bytes=num_bytes))
        some = added[first : first + _FILES_AT_ONCE]
        api.preupload_lfs_files(plan.name, some, repo_type=_KIND, revision=plan.branch)
        num_bytes += sum(plan.files[one.path_in_repo].num_bytes for one in some)
    report("push", len(added), len(added), Work(unit="files", num_bytes=num_bytes))


@contextmanager
def _without_bars() -> Iterator[None]:
    """Let the library print no bars of its own."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _destination(address: str) -> tuple[str, str]:
    try:
        name, branch, path = parse_hub_address(address)
    except InputError as error:
        path = error.message
    if path:
        raise ConfigError(
            f"{address}: got an address of another form, expected hf://datasets/ORG/NAME[@BRANCH]"
        )
    return name, branch


def _look(name: str, branch: str) -> tuple[str | None, bool, dict[str, Any]]:
    """Return the head of a branch, whether it is there, and its files by path.

    A branch that is not there would begin as `main`; no repository is no head and no file.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.hf_api import RepoFile

    api = HfApi()
    has_branch = True
    try:
        try:
            info = api.dataset_info(name, revision=branch)
        except RevisionNotFoundError:
            has_branch = False
            info = api.dataset_info(name, revision=_MAIN)
    except RepositoryNotFoundError as error:
        # A repository that a token may not see is not found either, with another status.
        if error.response.status_code != 404:
            raise
        return None, False, {}
    tree = api.list_repo_tree(name, recursive=True, revision=info.sha, repo_type=_KIND)
    return info.sha, has_branch, {one.path: one for one in tree if isinstance(one, RepoFile)}


def _is_same(path: Path, digest: FileDigest, there: Any) -> bool:
    if there.lfs is not None:
        return bool(there.lfs.sha256 == digest.sha256)
    if there.size != digest.num_bytes:
        return False
    # Of a small file, git's own hash is known.
    data = path.read_bytes()
    return bool(there.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())


def _check_is_ours(address: str, there: dict[str, Any]) -> None:
    if BUNDLE not in there and there.keys() - _BEGUN:
        some = ", ".join(sorted(there.keys() - _BEGUN)[:3])
        raise OutputError(
            f"{address}: got a data set with {some}, expected an empty one, or one with a bundle",
            "name a repository or a branch that is not there yet",
        )
