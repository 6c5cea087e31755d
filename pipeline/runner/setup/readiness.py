"""Readiness: what of this machine a build needs -> what is ready, and what to do about the rest.

Nothing is changed, but for a file that is made and removed where compiled code is kept. The Hub is
asked once, for five seconds at most; without a network that is no failure, since local files need
none.
"""

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from packaging.requirements import Requirement

from pipeline.core.bundled import package_folder
from pipeline.core.compiled import compiled_folder
from pipeline.core.errors import NetworkError, PipelineError
from pipeline.core.limits import (
    check_memory,
    machine_memory_bytes,
    most_open_files,
    num_cores,
    process_memory_bytes,
)
from pipeline.core.units import format_bytes
from pipeline.runner import open_files_of, versions
from pipeline.stages.tokenizer import EMBEDDED, load_tokenizer
from pipeline.storage import HubAnswer, ask_hub

_PACKAGE: Final = "ettin-data"
_LITTLE_DISK, _NO_DISK = 10 << 30, 256 << 20
_HUB_SECONDS: Final = 5.0
_EXTRAS: Final = {
    "az": "builds on Azure",
    "colbert": "the example of late-interaction retrieval",
    "finetune": "the examples of fine-tuning",
    "filters": "all filters but length, regex and own functions, which need no extra",
    "gs": "builds on Google Cloud Storage",
    "hub": "tokenizers and exports on the Hub",
    "publish": "bundle and push",
    "s3": "sources and builds on S3",
    "train": "train, export and evaluate",
}
"""What each extra of `pyproject.toml` is for. Installed metadata may be older than that file."""
_KNOWN_IDS: Final = {
    "café résumé naïve déjà vu": "68 2320 860 9568 2204 860 36060 41751 24821",
    "你好世界 mixed with english": "24553 34439 42848 45261 6804 342 48087",
    "code:\n    four\n        eight\n\ttab\r\n":
        "3211 27 187 50274 12496 187 50270 19521 187 186 8476 2379",
    "The capital of France is [MASK].": "510 5347 273 6181 310 50284 15",
}  # fmt: skip
"""Texts of `tests/golden/tokenizer_fixture.json`, with their ids between [CLS] and [SEP]."""
_STORES: Final = {
    "s3": (("s3fs", "read"), ("obstore", "write")),
    "gs": (("obstore", "read and write"),),
    "az": (("obstore", "read and write"),),
}

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    what: str
    status: Status
    says: str
    todo: str = ""


def examine_machine(folder: Path) -> Iterator[Finding]:
    """Yield a finding for each thing that builds in a folder depend on."""
    yield _machine()
    yield _disk(folder)
    yield _temporary()
    yield _open_files()
    yield _versions()
    yield _compiled()
    yield _tokenizer()
    yield from _extras()
    yield _stores()
    yield _hub()


def _machine() -> Finding:
    cores, memory = num_cores(), machine_memory_bytes()
    says = f"{cores} core{'s' * (cores != 1)}, {format_bytes(memory)} of memory"
    if process_memory_bytes() < memory:
        says += f", {format_bytes(process_memory_bytes())} for a process"
    limits: tuple[tuple[int, Status], ...] = ((0, "fail"), (cores, "warn"))
    for workers, status in limits:
        try:
            check_memory(1 + workers, "machine")
        except PipelineError as error:
            return Finding(what="machine", status=status, says=says, todo=error.hint or "")
    return Finding(what="machine", status="ok", says=says)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    says = f"{format_bytes(free)} free in {folder.absolute()}"
    if not os.access(folder, os.W_OK | os.X_OK):
        todo = "write elsewhere with --out, or make the folder writable"
        return Finding(what="disk", status="fail", says=f"{says}, not writable", todo=todo)
    todo = "`ettin-data plan MIXTURE` says what a build takes; --out and --raw name other disks"
    status: Status = "fail" if free < _NO_DISK else "warn" if free < _LITTLE_DISK else "ok"
    return Finding(what="disk", status=status, says=says, todo="" if status == "ok" else todo)


def _temporary() -> Finding:
    """Say where temporary files go. Python ignores a TMPDIR that it cannot write to."""
    what, wanted = "temporary files", os.environ.get("TMPDIR")
    todo = "set TMPDIR to a folder that is there and writable"
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        return Finding(what=what, status="fail", says=str(error.strerror), todo=todo)
    says = f"{format_bytes(shutil.disk_usage(folder).free)} free in {folder}"
    if wanted and os.path.abspath(wanted) != folder:
        says = f"TMPDIR ({wanted}) cannot be written; used instead: {says}"
        return Finding(what=what, status="warn", says=says, todo=todo)
    return Finding(what=what, status="ok", says=says)


def _open_files() -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = most_open_files() if hard == resource.RLIM_INFINITY else hard
    needed = open_files_of(num_cores())
    says = f"at most {most:,} open, a build with a worker a core has {needed:,}"
    if most >= needed:
        return Finding(what="open files", status="ok", says=says)
    todo = f"`ulimit -n {needed}`, or the limits of the job or container, or fewer --workers"
    return Finding(what="open files", status="warn", says=says, todo=todo)


def _versions() -> Finding:
    """Compare what is installed with what this package requires, where it says so."""
    says = ", ".join(f"{name} {version}" for name, version in versions().items())
    wrong = [one for one in _requirements("") if not _is_met(one)]
    if not wrong:
        return Finding(what="versions", status="ok", says=says)
    return Finding(what="versions", status="fail", says=says, todo=_install(wrong))


def _compiled() -> Finding:
    todo = "set NUMBA_CACHE_DIR to a folder that stays: a first command compiles for a minute"
    folder = compiled_folder()
    if folder is None:
        says = "can be kept nowhere, so each command compiles again"
        return Finding(what="compiled code", status="warn", says=says, todo=todo)
    # Beside each file of the package, or else all in one place.
    above = package_folder() if folder.name == "__pycache__" else folder.parent
    number = sum(1 for _ in above.rglob("*.nbc"))
    if not number:
        says = f"none yet below {above}; the first plan or build compiles for a minute or two"
        return Finding(what="compiled code", status="ok", says=says)
    says = f"{number:,} functions kept below {above}"
    return Finding(what="compiled code", status="ok", says=says)


def _tokenizer() -> Finding:
    try:
        tokenizer = load_tokenizer(EMBEDDED, add_prefix_space=False)
        found = [ids[tokenizer.content] for ids in tokenizer.encode_reference([*_KNOWN_IDS])]
    except PipelineError as error:
        todo = error.hint or ""
        return Finding(what="tokenizer", status="fail", says=error.message, todo=todo)
    if [" ".join(map(str, ids.tolist())) for ids in found] == [*_KNOWN_IDS.values()]:
        says = f"{EMBEDDED} encodes {len(_KNOWN_IDS)} texts to their known ids"
        return Finding(what="tokenizer", status="ok", says=says)
    version = metadata.version("tokenizers")
    says = f"{EMBEDDED} encodes known texts to other ids with tokenizers {version}"
    todo = "install the version of tokenizers that this package requires, or report this"
    return Finding(what="tokenizer", status="fail", says=says, todo=todo)


def _extras() -> Iterator[Finding]:
    """Yield what each extra needs that is not installed; a missing one is no fault."""
    known = _names_of_extras()
    for extra in sorted({*_EXTRAS, *known}):
        missing = [one for one in _requirements(extra) if not _is_there(one)]
        wrong = [one for one in _requirements(extra) if _is_there(one) and not _is_met(one)]
        what = f"extra {extra}"
        install = f"pip install '{_PACKAGE}[{extra}]'"
        if extra not in known:
            says = f"for {_EXTRAS[extra]}; the metadata of this installation do not list it"
            yield Finding(what=what, status="ok", says=says, todo=f"if you need it: {install}")
        elif missing:
            names = ", ".join(sorted(one.name for one in missing))
            says = f"not installed ({names})"
            if extra in _EXTRAS:
                says = f"for {_EXTRAS[extra]}; {says}"
            yield Finding(what=what, status="ok", says=says, todo=f"if you need it: {install}")
        elif wrong:
            names = ", ".join(f"{one.name} {metadata.version(one.name)}" for one in wrong)
            yield Finding(what=what, status="warn", says=names, todo=_install(wrong))
        else:
            yield Finding(what=what, status="ok", says="installed")


def _stores() -> Finding:
    parts = []
    for scheme, needs in _STORES.items():
        can = [how for module, how in needs if find_spec(module) is not None]
        parts.append(f"{scheme}:// {' and '.join(can) or 'no client'}")
    return Finding(what="object stores", status="ok", says="; ".join(parts))


def _hub() -> Finding:
    try:
        answer = ask_hub(_HUB_SECONDS)
    except NetworkError as error:
        todo = "sources on the Hub need it: check the network, HF_ENDPOINT and proxy variables"
        says = error.message.partition(": ")[2] or error.message
        return Finding(what="Hub", status="warn", says=says, todo=f"{todo}; local files do not")
    except PipelineError as error:
        return Finding(what="Hub", status="warn", says=error.message, todo=error.hint or "")
    return Finding(what="Hub", status="ok", says=_of_hub(answer), todo=_for_hub(answer))


def _of_hub(answer: HubAnswer) -> str:
    who = f"as {answer.user}" if answer.user else "with a token" if answer.has_token else "unknown"
    access = who if answer.has_token else "without a token"
    left = "" if answer.requests_left is None else f"; {answer.requests_left:,} requests left"
    seconds = "" if answer.seconds_left is None else f" for {answer.seconds_left} s"
    return f"{answer.endpoint} answers, {access}{left}{seconds if left else ''}"


def _for_hub(answer: HubAnswer) -> str:
    if answer.has_token:
        return ""
    return "for gated sets, and higher limits, set HF_TOKEN"


def _requirements(extra: str) -> list[Requirement]:
    """Return what this package requires, or one of its extras; nothing where it says nothing."""
    with suppress(metadata.PackageNotFoundError):
        every = [Requirement(line) for line in metadata.requires(_PACKAGE) or ()]
        without = [one for one in every if one.marker is None or one.marker.evaluate({"extra": ""})]
        if not extra:
            return without
        return [
            one
            for one in every
            if one not in without and one.marker and one.marker.evaluate({"extra": extra})
        ]
    return []


def _names_of_extras() -> list[str]:
    """Return the extras of users that this installation knows of."""
    with suppress(metadata.PackageNotFoundError):
        names = metadata.metadata(_PACKAGE).get_all("Provides-Extra") or []
        return [name for name in names if name != "dev"]
    return []


def _is_there(one: Requirement) -> bool:
    with suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(one.name))
    return False


def _is_met(one: Requirement) -> bool:
    return _is_there(one) and one.specifier.contains(metadata.version(one.name), prereleases=True)


def _install(wrong: list[Requirement]) -> str:
    listed = " ".join(f"'{one.name}{one.specifier}'" for one in wrong)
    return f"pip install {listed}"
