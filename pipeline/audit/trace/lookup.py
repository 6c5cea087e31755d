"""Lookup: positions, documents and texts of an output's order -> the provenance of rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.audit.built_tokenizer import load_built_tokenizer
from pipeline.audit.trace.absent import why_absent
from pipeline.audit.trace.positions import Positions, RowRange
from pipeline.audit.trace.text_search import Match, find, id_patterns
from pipeline.core.arrays import Uint32Array
from pipeline.core.errors import ConfigError, InputError, MismatchError, NotFoundError
from pipeline.dataset import (
    MANIFEST,
    PARTIAL,
    PROVENANCE,
    STATE,
    STEPS,
    Manifest,
    RowSource,
    find_checkpoint,
    read_manifest,
    read_record,
)
from pipeline.dataset.provenance import (
    ProvenanceReader,
    RowProvenance,
    SourceCounts,
    count_sources,
    provenance_of,
)
from pipeline.stages.tokenizer import Tokenizer
from pipeline.storage import check_is_path

_MOST_AHEAD = 1024


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The order of an output with its provenance."""

    out: Path
    manifest: Manifest
    positions: Positions
    provenance: ProvenanceReader

    @classmethod
    def open(cls, out: Path) -> "Trace":
        """Open an output.

        Raises: InputError when `out` is no output; MismatchError when its manifest, its table of
        steps or its provenance is missing, damaged or of another order.
        """
        check_is_path(out, "the output of a build")
        if not out.is_dir():
            raise InputError(f"{out}: got no folder, expected the output of a build")
        if not any((out / name).exists() for name in (MANIFEST, STEPS, PARTIAL)):
            is_begun = (out / STATE).is_dir()
            raise InputError(
                f"{out}: got no {MANIFEST}, expected the output of a build",
                "run the build to its end first" if is_begun else "check the path",
            )
        manifest = read_manifest(out / MANIFEST)
        windows = manifest.order.windows
        # Windows are named after the phase and numbered.
        phase = Path(windows[0].folder).name.rpartition("_")[0] if windows else ""
        named = manifest.files.get(STEPS)
        if (out / STEPS).exists() and (named is None or not named.matches(out / STEPS)):
            raise MismatchError(
                f"{out / STEPS}: has other bytes than the manifest says", "build again to write it"
            )
        positions = Positions.of(manifest.order, phase, out / STEPS)
        provenance = ProvenanceReader.of_output(out, manifest.files)
        if provenance.num_rows != positions.num_rows:
            raise MismatchError(
                f"{out / PROVENANCE}: got {provenance.num_rows} rows, manifest says"
                f" {positions.num_rows}",
                "build again to write it",
            )
        return cls(out=out, manifest=manifest, positions=positions, provenance=provenance)

    def rows(self, span: RowRange) -> Iterator[RowProvenance]:
        for table in self.provenance.tables(span.start_row, span.stop_row):
            yield from provenance_of(table)

    def checkpoint(self, name: str) -> RowRange:
        """Return the rows between a checkpoint and the one before.

        name: that of a published one, as for `Positions.checkpoint`, or the folder of one that was
        trained on this output, or of several, of which the latest is taken.

        Raises: NotFoundError when there is none; MismatchError when it is of another order, or
        damaged.
        """
        if not Path(name).is_dir() and "/" not in name:
            return self.positions.checkpoint(name)
        folder = find_checkpoint(Path(name))
        record = read_record(folder)
        order = self.manifest.order.ledger.sequence_root
        if record.seen.order != order:
            raise MismatchError(
                f"{folder}: got a checkpoint of the order {record.seen.order}, and {self.out} is"
                f" the order {order}",
                "name the output that it was trained on",
            )
        start, stop = record.seen.since_row, record.clock.next_row
        span = self.positions.rows(start, stop, f"checkpoint {record.name}")
        cut = ((max(first, start), last) for first, last in record.seen.tombstones)
        return replace(span, tombstones=tuple(one for one in cut if one[0] < one[1]))

    def document(self, document: str, source: str | None = None) -> list[RowProvenance]:
        """Return all rows that saw a document, by source and row: of one source or of all.

        Raises: NotFoundError when none did; ConfigError when UTF-8 cannot hold the id.
        """
        try:
            document.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"document {document!r}: got an id that is not valid Unicode"
            ) from error
        found = self.provenance.document(document, source)
        if found:
            return found
        where = "" if source is None else f" of source {source!r}"
        elsewhere = sorted({one.source for one in self.provenance.document(document)})
        if elsewhere:
            has = "has" if len(elsewhere) == 1 else "have"
            hint: str | None = f"{' and '.join(map(repr, elsewhere))} {has} a document of this id"
        else:
            hint = why_absent(self.out, self.manifest, self.positions, document, source)
        raise NotFoundError(
            f"document {document!r}{where}: is in none of the {self.positions.num_rows:,} rows of"
            " the order",
            hint,
        )

    def patterns(self, text: str, path: str | None = None) -> list[Uint32Array]:
        """Return the runs of ids that a text may be in the rows, each uint32 [num_ids].

        path: as for `load_tokenizer`. Raises: ConfigError when the text has no ids.
        """
        plain = built = self.load_tokenizer(path)
        declared = self.manifest.mixture.declaration
        if declared["tokenizer"]["add_prefix_space"]:
            built = self.load_tokenizer(path, add_prefix_space=True)
        chunk = declared.get("chunk", {})
        return id_patterns(text, plain, built, chunker=chunk.get("algorithm"))

    def find(
        self, patterns: list[Uint32Array], rows: RowSource
    ) -> Iterator[tuple[Match, RowProvenance]]:
        """Yield every place where any of some patterns is, with the provenance of its row.

        rows: those of this order. Raises: NotFoundError when they are nowhere.
        """
        self._check_rows(rows)
        return self.located(find(patterns, rows))

    def located(self, found: Iterable[list[Match]]) -> Iterator[tuple[Match, RowProvenance]]:
        """Yield places, rising, with the provenance of their rows. Raises: NotFoundError if none.

        found: lists of at least one, whose rows are not far apart.
        """
        num_found = 0
        for matches in found:
            first = matches[0].row
            origins = self.provenance.rows(first, matches[-1].row + 1)
            for match in matches:
                num_found += 1
                yield match, origins[match.row - first]
        if not num_found:
            raise NotFoundError(
                f"find: the text is in none of the {self.positions.num_rows:,} rows of the order",
                self.positions.describe_dropped(),
            )

    def texts(self, numbers: Iterable[int], rows: RowSource, tokenizer: Tokenizer) -> Iterator[str]:
        """Yield the text of each row, without special tokens.

        Consecutive rows are read together, so up to 1,024 numbers are consumed ahead.
        """
        self._check_rows(rows)
        for first, end in _runs(numbers):
            for block in rows.read(first, end):
                for start, stop in zip(block.offsets[:-1], block.offsets[1:], strict=True):
                    yield tokenizer.decode_reference(block.values[start:stop])

    def count_sources(self, span: RowRange) -> dict[str, SourceCounts]:
        return count_sources(self.provenance.tables(span.start_row, span.stop_row))

    def load_tokenizer(
        self, path: str | None = None, *, add_prefix_space: bool = False
    ) -> Tokenizer:
        """Load the tokenizer of the output, without a space before segments or with one.

        path: another copy of its `tokenizer.json`.

        Raises: MismatchError when it is not the one that the manifest names.
        """
        return load_built_tokenizer(
            self.out, self.manifest, add_prefix_space=add_prefix_space, path=path
        )

    def _check_rows(self, rows: RowSource) -> None:
        if rows.num_rows != self.positions.num_rows:
            raise MismatchError(
                f"{self.out}: got {rows.num_rows} ordered rows, manifest says"
                f" {self.positions.num_rows}",
                "build again to write them",
            )


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of consecutive numbers."""
    start = stop = -1
    for number in numbers:
        if number != stop or stop - start == _MOST_AHEAD:
            if start < stop:
                yield start, stop
            start = number
        stop = number + 1
    if start < stop:
        yield start, stop
