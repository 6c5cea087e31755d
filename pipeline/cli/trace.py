"""`ettin-data trace`."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import tee, zip_longest
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments, Verbs, add_verb, number_or_range
from pipeline.cli.output import print_json_list, print_lines, print_result
from pipeline.core.errors import ConfigError
from pipeline.core.shown import printable

if TYPE_CHECKING:
    from pipeline.audit.trace import RowRange, Trace
    from pipeline.dataset.provenance import RowProvenance


def add(verbs: Verbs) -> None:
    summary = "list the documents behind a step, or the steps that saw a document"
    options = add_verb(
        verbs,
        "trace",
        run,
        summary,
        examples=(
            "ettin-data trace sample-out --step 3:5",
            "ettin-data trace sample-out --document prose-0007",
            "ettin-data trace sample-out --find 'the tide' --text",
        ),
        guide="docs/guide/verify.md#which-documents-a-step-saw",
    )
    options.add_place()
    what = options.one_of(required=True)
    until = "up to B, without B"
    for usage, rows in (
        ("--step N|A:B", f"rows of this step, from 1, or of steps A {until}"),
        ("--row N|A:B", f"this row, from 0, or rows A {until}"),
        ("--window N|A:B", f"rows of this checkpoint window, from 1, or of windows A {until}"),
    ):
        what.add(usage, rows, number_or_range)
    what.add("--document ID", "rows that contain parts of this document")
    what.add("--find TEXT", "rows that contain this text")
    what.add(
        "--checkpoint NAME",
        "tokens per source since the checkpoint before this one: step596528, ext…, decay…, latest,"
        " or a folder that `train` saved",
    )
    options.add(
        "--source NAME", "source of the document, if several have one of this id (with --document)"
    )
    beside = "also show the rows of another output there (with --step, --row or --window)"
    options.add_place("--beside DIR", beside)
    options.add("--text", "print the text of each row as well")
    tokenizer = (
        "tokenizer.json that encoded the rows, if the output lacks it (with --find or --text)"
    )
    options.add("--tokenizer FILE", tokenizer)


def run(parsed: Arguments) -> int:
    """Print rows and their documents, or the sources of a checkpoint."""
    from pipeline.dataset import readable_folder

    if parsed.source is not None and parsed.document is None:
        raise ConfigError("--source: got no --document, expected one")
    if parsed.text and parsed.checkpoint is not None:
        raise ConfigError(
            "--text: got --checkpoint, which shows no rows", "show those of a window with --window"
        )
    if parsed.tokenizer is not None and parsed.find is None and not parsed.text:
        raise ConfigError("--tokenizer: got neither --find nor --text, expected one of them")
    is_range = any(one is not None for one in (parsed.step, parsed.row, parsed.window))
    if parsed.beside is not None and (parsed.text or not is_range):
        raise ConfigError("--beside: expected --step, --row or --window, without --text")
    with ExitStack() as stack:
        parsed.folder = stack.enter_context(readable_folder(parsed.folder))
        if parsed.beside is not None:
            parsed.beside = stack.enter_context(readable_folder(parsed.beside))
        _trace(parsed, is_range=is_range)
    return 0


def _trace(parsed: Arguments, *, is_range: bool) -> None:
    from pipeline.audit.trace import Trace, counts_json, counts_lines

    trace = Trace.open(parsed.folder)
    if parsed.beside is not None:
        _print_beside(parsed, trace, Trace.open(parsed.beside))
    elif parsed.checkpoint is not None:
        rows = trace.checkpoint(parsed.checkpoint)
        counts = trace.count_sources(rows)
        print_result(parsed, counts_json(rows, counts), counts_lines(rows, counts))
    else:
        _print_rows(parsed, trace, _find(parsed, trace))
        if is_range and not parsed.json:
            span = _row_range(parsed, trace)
            print_lines(["", *counts_lines(span, trace.count_sources(span))])


def _print_beside(parsed: Arguments, trace: "Trace", other: "Trace") -> None:
    from pipeline.audit.trace import beside_json, beside_lines

    pairs = zip_longest(
        trace.rows(_row_range(parsed, trace)), other.rows(_row_range(parsed, other))
    )
    if parsed.json:
        print_json_list(beside_json(*pair) for pair in pairs)
    else:
        print_lines(beside_lines(pairs))


def _find(parsed: Arguments, trace: "Trace") -> Iterator[tuple["RowProvenance", int | None]]:
    """Yield rows, each with the offset of the text in it if one is searched for."""
    if parsed.document is not None:
        yield from ((row, None) for row in trace.document(parsed.document, parsed.source))
    elif parsed.find is not None:
        from pipeline import dataset
        from pipeline.audit.search import find_index

        ids = trace.patterns(parsed.find, parsed.tokenizer)
        order = dataset.open(parsed.folder)
        index = find_index(order)
        found = trace.find(ids, order.rows) if index is None else trace.located(index.matches(ids))
        for match, row in found:
            yield row, match.offset
    else:
        yield from ((row, None) for row in trace.rows(_row_range(parsed, trace)))


def _row_range(parsed: Arguments, trace: "Trace") -> "RowRange":
    if parsed.step is not None:
        return trace.positions.steps(*parsed.step)
    if parsed.row is not None:
        return trace.positions.rows(*parsed.row)
    return trace.positions.windows(*parsed.window)


def _print_rows(
    parsed: Arguments, trace: "Trace", found: Iterator[tuple["RowProvenance", int | None]]
) -> None:
    from pipeline.audit.trace import row_json, row_line, text_lines

    texts = _with_texts(parsed, trace, found) if parsed.text else ((*one, None) for one in found)
    if parsed.json:
        print_json_list(row_json(row, text=text, offset=offset) for row, offset, text in texts)
        return
    for row, offset, text in texts:
        print(printable(row_line(row, offset)))
        if text is not None:
            print(printable(text_lines(text)))


def _with_texts(
    parsed: Arguments, trace: "Trace", found: Iterator[tuple["RowProvenance", int | None]]
) -> Iterator[tuple["RowProvenance", int | None, str]]:
    from pipeline import dataset

    # Texts are read some rows ahead, so that neighbouring rows are read together.
    found, ahead = tee(found)
    numbers = (row.row for row, _ in ahead)
    rows = dataset.open(trace.out).rows
    texts = trace.texts(numbers, rows, trace.load_tokenizer(parsed.tokenizer))
    for (row, offset), text in zip(found, texts, strict=True):
        yield row, offset, text
