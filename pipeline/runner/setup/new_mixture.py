"""New mixture: files and addresses of a command line -> the text of a mixture that builds."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import NAME, load_mixture
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.shown import without_secrets
from pipeline.runner.setup.file_groups import FileGroup, named_twice
from pipeline.runner.setup.find_local import Found, find_local
from pipeline.runner.setup.find_remote import find_remote, is_address
from pipeline.runner.setup.inspect_files import SourceFacts, inspect_group
from pipeline.runner.setup.propose_mixture import CHUNK_SIZE, Proposal, propose
from pipeline.runner.setup.write_mixture import mixture_text
from pipeline.stages.tokenizer import EMBEDDED, load_tokenizer

Report = Callable[[str, int, int], None]


def draft_mixture(
    name: str, arguments: Sequence[str], folder: Path, report: Report = lambda *_: None
) -> Proposal:
    """Look at files, and return a proposal of a mixture in `folder`.

    Raises: ConfigError for a name that a mixture cannot have; InputError for files that cannot be
    read or hold no text; NetworkError.
    """
    if not NAME.matches(name):
        raise ConfigError(
            f"NAME: got {json.dumps(name, ensure_ascii=False)}, expected {NAME.expected}",
            "choose another name; --out says where the file goes",
        )
    found = find_groups(arguments, folder)
    tokenizer = load_tokenizer(EMBEDDED, add_prefix_space=False)
    facts = []
    for number, group in enumerate(found.groups, start=1):
        facts.append(inspect_group(group, tokenizer, CHUNK_SIZE))
        report("look at sources", number, len(found.groups))
    return propose(name, facts, found.left_out, found.warnings)


def find_groups(arguments: Sequence[str], folder: Path) -> Found:
    """Return the groups of files that arguments name, local ones first, and what was left out."""
    if "" in arguments:
        raise InputError(
            "FILE: got an empty argument, expected a file, a folder, a glob or an address",
            "a variable of the shell may be unset; `.` is the current folder",
        )
    folder = folder.absolute()
    here = [one for one in arguments if not is_address(one)]
    found = find_local(here, folder, ())
    named: dict[tuple[str | None, str | None, str], str] = {}
    for address in arguments:
        if is_address(address):
            groups, left_out = find_remote(address, [group.name for group in found.groups])
            _refuse_repeated(address, groups, named)
            found.groups.extend(groups)
            found.left_out.extend(left_out)
    return found


def _refuse_repeated(
    address: str,
    groups: Sequence[FileGroup],
    named: dict[tuple[str | None, str | None, str], str],
) -> None:
    """Refuse a file elsewhere that two addresses name. Raises: InputError.

    named: addresses by data set, revision and path of each file so far, which grows.
    """
    for group in groups:
        for path in group.stored:
            key = group.origin.hub, group.origin.revision, path
            if key in named:
                raise named_twice(path, named[key], address)
    named |= {
        (group.origin.hub, group.origin.revision, path): address
        for group in groups
        for path in group.stored
    }


def write_text(proposal: Proposal, path: Path) -> str:
    """Return the text of a proposal, checked to load as a mixture at `path`.

    Raises: ConfigError where it does not load, as with an address that no mixture can have.
    """
    text = mixture_text(proposal)
    load_mixture(path, text=text.encode())
    return text


def describe(proposal: Proposal) -> dict[str, Any]:
    """Return a proposal as JSON-able values, for `--json`."""
    return {
        "name": proposal.name,
        "tokens": proposal.tokens,
        "global_batch_size": proposal.global_batch_size,
        "num_rows": proposal.num_rows,
        "on_error": "skip" if proposal.skips_bad else "stop",
        "sources": {one.name: _describe(one, proposal) for one in proposal.sources},
        "left_out": list(proposal.left_out),
        "warnings": list(proposal.warnings),
    }


def _describe(one: SourceFacts, proposal: Proposal) -> dict[str, Any]:
    origin, fields, share = one.group.origin, one.fields, proposal.shares.get(one.name)
    is_text = one.group.is_text
    return {
        "from": {
            key: value
            for key, value in (
                ("path", origin.path),
                ("hub", origin.hub),
                ("revision", origin.revision),
                ("files", origin.files),
                ("url", origin.url and tuple(map(without_secrets, origin.url))),
            )
            if value is not None
        },
        "kinds": list(one.group.kinds),
        "files_per_partition": origin.files_per_partition,
        "num_files": len(one.group.files),
        "num_bytes": one.group.num_bytes,
        "text": None if is_text else fields.text,
        "other_texts": list(fields.other_texts),
        "id": None if is_text else fields.id,
        "other_ids": list(fields.other_ids),
        "id_reason": fields.id_reason,
        "is_whole": one.is_whole,
        "num_documents_read": one.num_documents,
        "num_copies": one.num_copies,
        "bad": dict(sorted(one.bad.items())),
        "num_tokens": one.num_tokens,
        "is_counted": one.is_counted,
        "num_rows": one.num_rows,
        "shortest_chars": one.shortest_chars,
        "longest_chars": one.longest_chars,
        "median_tokens": one.median_tokens,
        "longest_tokens": one.longest_tokens,
        "scripts": {name: round(part, 4) for name, part in one.scripts.items()},
        "share": None if share is None else float(share),
    }
