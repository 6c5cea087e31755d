"""Preparing: a plan -> the inputs of every source, with all that is needed to read them.

Tokenizers that decode rows of ids are put into the state, where every worker finds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import DecodeSpec
from pipeline.core.digest import sha256_bytes
from pipeline.core.files import publish
from pipeline.runner.context import Site
from pipeline.runner.plan import PlannedSource, declared
from pipeline.runner.tasks.read_documents import Input, Locked
from pipeline.sources import Decoding, check_tokenizer
from pipeline.stages.tokenizer import read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedSource:
    """A source, and its files as they are to be read."""

    planned: PlannedSource
    """What is asked of it."""
    inputs: tuple[Input, ...]
    """Sorted by partition."""

    @property
    def name(self) -> str:
        """The source's name."""
        return self.planned.source.name


def prepare(site: Site, sources: Sequence[PlannedSource]) -> list[PreparedSource]:
    """Return the sources with their inputs.

    Raises: InputError or MismatchError when a tokenizer cannot be had, or is not the locked one.
    """
    return [_prepare(site, planned) for planned in sources]


def _prepare(site: Site, planned: PlannedSource) -> PreparedSource:
    source, locked = planned.source, planned.locked
    decoding, decoder = _decoding(site, planned, source.origin.decode)
    at_origin = {declared(locked, file): file for file in locked.files} if locked else {}
    assert planned.files is not None
    inputs = tuple(
        Input(
            source=source.name,
            file=file,
            origin=source.origin,
            filters=source.filters,
            folder=site.mixture_folder,
            decoding=decoding,
            decoder=decoder,
            locked=None
            if locked is None
            else Locked(
                file=at_origin[file.declared],
                revision=locked.revision,
                is_kept=site.keeps_raw or source.origin.kind == "path",
            ),
        )
        for file in planned.files
    )
    return PreparedSource(planned=planned, inputs=inputs)


def _decoding(
    site: Site, planned: PlannedSource, spec: DecodeSpec | None
) -> tuple[Decoding | None, str | None]:
    """Put the tokenizer that decodes a source's rows where the workers find it, with its sha256."""
    if spec is None:
        return None, None
    locked = None if planned.locked is None else planned.locked.tokenizer
    # Where the mixture names no commit, the lock has pinned one.
    revision = spec.revision if locked is None else locked.revision
    data = read_json(spec.tokenizer, revision, site.mixture_folder)
    digest = sha256_bytes(data)
    if locked is not None:
        check_tokenizer(locked, digest)
    path = site.state.decoder(digest)
    with publish(path, site.state.scratch) as temporary:
        temporary.write_bytes(data)
    return Decoding(tokenizer=path, cleans_up=spec.clean_up), digest
