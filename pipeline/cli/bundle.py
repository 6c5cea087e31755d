"""`ettin-data bundle`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import show_progress
from pipeline.core.bundled import mixture_path
from pipeline.core.errors import ConfigError
from pipeline.core.shown import printable

if TYPE_CHECKING:
    from pipeline.dataset import Manifest
    from pipeline.sources import Lock


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "bundle",
        run,
        "write what is published with a data set, or check what somebody published",
        "Data card, Croissant, licences, the EU summary of training content, citation, report,"
        " mixture, lock, manifest and ledger. It needs the extra `publish`.",
        examples=(
            "ettin-data bundle letters --out bundle --mixture letters.yaml --rows",
            "ettin-data bundle --check bundle",
        ),
        guide="docs/guide/publish.md#make-a-bundle",
    )
    options.add("folder DIR", "output of a build; with --check, a bundle", Path)
    options.add("--out FOLDER", "folder to write, or a bundle to replace", Path)
    options.add(
        "--about FILE", "what no mixture says, as `ettin-data schema about` describes", Path
    )
    options.add(
        "--mixture MIXTURE", "mixture that was built, or name of a bundled one: for licences"
    )
    options.add("--lock FILE", "lock of the mixture (default: manifests/NAME.lock.json)", Path)
    options.add("--rows", "copy the ordered rows too, which needs room for as many bytes again")
    options.add("--sign KEY", "private key in PEM to sign with, of an elliptic curve", Path)
    options.add("--check", "check every file of a bundle, and its signature")
    options.add("--key PUBLIC", "with --check, public key of who signed it", Path)
    options.add_progress()


def run(parsed: Arguments) -> int:
    """Write a bundle, or print what is wrong with one and exit 1 if anything is."""
    if parsed.check:
        return _check(parsed)
    if parsed.out is None:
        raise ConfigError("--out: got nothing, expected a folder to write, or --check")
    if parsed.key is not None:
        raise ConfigError("--key: got no --check, expected one", "--sign KEY signs a bundle")
    from pipeline.config import About, load_about, load_config
    from pipeline.dataset import MANIFEST, read_manifest
    from pipeline.show.publish import write_bundle

    about = About(folder=Path()) if parsed.about is None else load_about(parsed.about)
    record = read_manifest(parsed.folder / MANIFEST)
    mixture = None
    if parsed.mixture is not None:
        mixture = load_config(mixture_path(parsed.mixture), record.mixture.overrides)
    lock = _find_lock(parsed, record, None if mixture is None else mixture.name)
    with show_progress(parsed, parsed.out) as show:
        bundle = write_bundle(
            parsed.folder,
            parsed.out,
            about,
            mixture=mixture,
            lock=lock,
            has_rows=parsed.rows,
            key=parsed.sign,
            report=show,
        )
    content = {
        "out": str(parsed.out),
        "num_files": bundle.num_files,
        "num_bytes": bundle.num_bytes,
        "not_known": list(bundle.missing),
        "licences_without_text": list(bundle.without_text),
    }
    print_result(
        parsed, content, [f"{parsed.out}: {bundle.num_files:,} files, {bundle.num_bytes:,} bytes"]
    )
    for what, names in (
        ("not known, and said so in the bundle", bundle.missing),
        ("licences without a text", bundle.without_text),
    ):
        if names:
            print(printable(f"{what}: {', '.join(names)}"), file=sys.stderr)
    return 0


def _find_lock(parsed: Arguments, record: "Manifest", name: str | None) -> "Lock | None":
    """Read the lock that `--lock` names, or that of the output. `name`: of the mixture's file.

    Raises: ConfigError where the output needs one that is not there.
    """
    from pipeline.sources import default_lock_path, read_lock

    if parsed.lock is not None:
        return read_lock(parsed.lock)
    if record.lock is None:
        return None
    # `lock` names it after the file, and an output of a replay has the name of its phase.
    path = default_lock_path(name or record.mixture.name)
    if not path.exists():
        raise ConfigError(
            f"--lock: got no {path}, expected the lock of the output, of digest {record.lock}",
            "name it with --lock; it says which revisions the data was made from",
        )
    return read_lock(path)


def _check(parsed: Arguments) -> int:
    for name in ("out", "about", "mixture", "lock", "sign"):
        if getattr(parsed, name) is not None:
            raise ConfigError(f"--{name}: got --check too, expected only one of them")
    from pipeline.show.publish import check_bundle

    mismatches = check_bundle(parsed.folder, parsed.key)
    signed = "" if parsed.key is None else f", signed by the owner of {parsed.key}"
    lines = mismatches or [f"{parsed.folder}: every file is as it was written{signed}"]
    print_result(parsed, {"bundle": str(parsed.folder), "mismatches": mismatches}, lines)
    return 1 if mismatches else 0
