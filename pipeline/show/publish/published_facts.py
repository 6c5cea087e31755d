"""Facts: a manifest, and the about file, mixture and lock beside it -> what is known of a data set.

All files of a bundle are written from these values, so that none says what another does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from pipeline.config import About, AboutSource, Mixture, Replay, SourceKind
from pipeline.core.digest import FileDigest
from pipeline.core.errors import ConfigError
from pipeline.core.json_record import ABSENT
from pipeline.dataset import ORDER, STEPS, Manifest
from pipeline.show.publish.licences import Licence, parse_licence
from pipeline.sources import Lock, lock_digest

NOT_KNOWN: Final = "not known"
_HUB: Final = "https://huggingface.co/datasets"
_RECORDS: Final = ("provider", "model", "content", "processing", "responsible")


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """A source of the data set."""

    about: AboutSource
    category: str | None
    licence: Licence | None
    stated_in: str | None
    """Where the licence is stated."""
    origin: str
    """What its documents were read from, for people."""
    url: str | None
    """The page of that, if it has one."""
    revision: str | None
    num_documents: int | None
    """Kept by the filters."""
    num_tokens: int | None
    """Sampled for the order."""
    dropped: dict[str, int]
    """Documents by reason."""

    @property
    def name(self) -> str:
        return self.about.name

    @property
    def kind(self) -> SourceKind | None:
        return self.about.kind


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a data set."""

    manifest: Manifest
    digest: str
    """Of the manifest, which it ends with."""
    about: About
    lock: Lock | None
    sources: tuple[SourceFacts, ...]
    """Sorted by name."""
    has_rows: bool
    """Whether the bundle has the rows."""

    @property
    def title(self) -> str:
        return self.about.title or self.manifest.mixture.name

    @property
    def ordered_files(self) -> dict[str, FileDigest]:
        """The files of ordered rows, with their indexes if they are MDS shards; parquet is in the
        order of the rows. None where rows lie in a pool."""
        if self.manifest.order.pool is not ABSENT:
            return {}
        return {
            path: digest
            for path, digest in sorted(self.manifest.files.items())
            if path.startswith(f"{ORDER}/") and path != STEPS
        }

    @property
    def is_parquet(self) -> bool:
        return any(path.endswith(".parquet") for path in self.ordered_files)

    @property
    def licence(self) -> Licence | None:
        """The licence of the whole: as declared, or that of all sources if they share one."""
        if self.about.licence is not None:
            return parse_licence(self.about.licence)
        licences = {one.licence for one in self.sources}
        return next(iter(licences)) if len(licences) == 1 else None

    def share(self, source: SourceFacts) -> Fraction | None:
        total = sum(one.num_tokens or 0 for one in self.sources)
        return None if not total or source.num_tokens is None else Fraction(
            source.num_tokens, total
        )  # fmt: skip

    def missing(self) -> Iterator[str]:
        """Yield the keys of an about file that would say what is not known, sorted by place."""
        for name in ("title", "description", "authors", "version", "date", "language", "url"):
            if getattr(self.about, name) is None:
                yield name
        if self.licence is None:
            yield "licence"
        for record in _RECORDS:
            section: Any = getattr(self.about, record)
            for name in section.__slots__:
                if getattr(section, name) is None:
                    yield f"{record}.{name}"
        for source in self.sources:
            if source.kind is None:
                yield f"sources.{source.name}.kind"
            if source.licence is None:
                yield f"sources.{source.name}.licence"


def gather(
    manifest: Manifest,
    digest: str,
    about: About,
    *,
    mixture: Mixture | Replay | None,
    lock: Lock | None,
    has_rows: bool,
) -> Facts:
    """Bring together what is known.

    mixture: the file that was built, which alone states licences; None where it is not at hand.

    Raises: ConfigError when mixture, lock or about file are of another data set.
    """
    _check_mixture(manifest, mixture)
    _check_lock(manifest, lock)
    declared = manifest.mixture.declaration.get("sources", {})
    names = sorted(declared)
    stated = {one.name: one for one in about.sources}
    if names and (unknown := sorted(stated.keys() - declared.keys())):
        raise ConfigError(
            f"sources.{unknown[0]}: got a source that the output does not have, expected one of"
            f" {', '.join(names)}"
        )
    licences = (
        {one.name: one.licence for one in mixture.sources} if isinstance(mixture, Mixture) else {}
    )
    sources = tuple(
        _source(
            stated.get(name, AboutSource(name=name)),
            declared.get(name, {}),
            licences.get(name),
            manifest,
            lock,
        )
        for name in names or sorted(stated)
    )
    return Facts(
        manifest=manifest, digest=digest, about=about, lock=lock, sources=sources, has_rows=has_rows
    )


def _check_mixture(manifest: Manifest, mixture: Mixture | Replay | None) -> None:
    expected = manifest.mixture.fingerprint
    if isinstance(mixture, Mixture) and mixture.fingerprint != expected:
        raise ConfigError(
            f"--mixture: got a mixture of fingerprint {mixture.fingerprint}, expected {expected},"
            " that of the output",
            "name the file that was built; overrides of the build are applied to it",
        )


def _check_lock(manifest: Manifest, lock: Lock | None) -> None:
    if manifest.lock is not None and lock is None:
        raise ConfigError(
            f"--lock: got no lock, expected that of the output, of digest {manifest.lock}",
            "name it with --lock; it says which revisions the data was made from",
        )
    if lock is not None and (found := lock_digest(lock)) != manifest.lock:
        raise ConfigError(
            f"--lock: {lock.where} has digest {found}, expected {manifest.lock or 'no lock'},"
            " as the manifest says"
        )


def _source(
    about: AboutSource,
    declared: dict[str, Any],
    licence: str | None,
    manifest: Manifest,
    lock: Lock | None,
) -> SourceFacts:
    record = manifest.sources.get(about.name)
    origin = declared.get("from", {})
    locked = None if lock is None else lock.sources.get(about.name)
    revision = origin.get("revision") if locked is None else locked.revision
    stated = licence or about.licence
    return SourceFacts(
        about=about,
        category=declared.get("category"),
        licence=None if stated is None else parse_licence(stated),
        stated_in=None if stated is None else ("the mixture" if licence else "the about file"),
        origin=_origin(origin),
        url=about.url or _page(origin, revision),
        revision=revision,
        num_documents=None if record is None else record.documents.kept,
        num_tokens=None if record is None else record.budget.drawn,
        dropped={} if record is None else dict(sorted(record.documents.dropped.items())),
    )


def _origin(origin: dict[str, Any]) -> str:
    if origin.get("hub"):
        return f"data set {origin['hub']} on the Hub"
    if addresses := origin.get("url"):
        return ", ".join(addresses)
    return f"local files {', '.join(paths)}" if (paths := origin.get("path")) else NOT_KNOWN


def _page(origin: dict[str, Any], revision: str | None) -> str | None:
    if not origin.get("hub"):
        return None
    return f"{_HUB}/{origin['hub']}" + (f"/tree/{revision}" if revision else "")
