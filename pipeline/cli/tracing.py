"""Tracing: the command that leads from steps to documents, and from documents to steps."""

import argparse
from collections.abc import Iterator
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Commands, natural, positive, with_json
from pipeline.cli.printing import print_json, print_json_list, print_lines
from pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.audit.trace import RowRange, Trace
    from pipeline.dataset.provenance import RowProvenance


def add_commands(commands: Commands) -> None:
    """Add `trace`."""
    trace = commands.add_parser(
        "trace",
        parents=[with_json()],
        help="say which documents a step saw, or which steps saw a document",
    )
    trace.add_argument("folder", metavar="DIR", type=Path, help="the output of a build")
    what = trace.add_mutually_exclusive_group(required=True)
    what.add_argument("--step", metavar="N", type=positive, help="its rows; steps count from 1")
    what.add_argument("--row", metavar="N", type=natural, help="one row; rows count from 0")
    what.add_argument("--window", metavar="N", type=positive, help="its rows, from 1")
    what.add_argument("--document", metavar="ID", help="all rows that saw it")
    what.add_argument("--find", metavar="TEXT", help="all rows in which the text stands")
    what.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="what lay between it and the one before: step596528, ext…, decay… or latest, or the"
        " folder of one that `train` saved",
    )
    trace.add_argument("--source", metavar="NAME", help="with --document: of this source alone")
    trace.add_argument("--text", action="store_true", help="show the text of each row")
    trace.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="with --find or --text: the tokenizer.json, if the mixture named it by a path",
    )
    trace.set_defaults(run=_trace)


def _trace(parsed: argparse.Namespace) -> int:
    from pipeline.audit.trace import Trace, counts_json, counts_lines

    if parsed.source is not None and parsed.document is None:
        raise ConfigError("--source: got no --document, which it needs")
    if parsed.text and parsed.checkpoint is not None:
        raise ConfigError(
            "--text: got --checkpoint, which shows no rows", "--window shows those of a window"
        )
    if parsed.tokenizer is not None and parsed.find is None and not parsed.text:
        raise ConfigError("--tokenizer: got neither --find nor --text, one of which it needs")
    trace = Trace.open(parsed.folder)
    if parsed.checkpoint is not None:
        span = trace.checkpoint(parsed.checkpoint)
        counts = trace.count_sources(span)
        if parsed.json:
            print_json(counts_json(span, counts))
        else:
            print_lines(counts_lines(span, counts))
        return 0
    _print_origins(parsed, trace, _found(parsed, trace))
    return 0


def _found(
    parsed: argparse.Namespace, trace: "Trace"
) -> Iterator[tuple["RowProvenance", int | None]]:
    """Yield the rows that were asked for, with where in them the text stands that was."""
    if parsed.document is not None:
        yield from ((origin, None) for origin in trace.document(parsed.document, parsed.source))
    elif parsed.find is not None:
        from pipeline.dataset import open_rows

        ids = trace.needles(parsed.find, parsed.tokenizer)
        for match, origin in trace.find(ids, open_rows(parsed.folder)):
            yield origin, match.offset
    else:
        yield from ((origin, None) for origin in trace.origins(_span(parsed, trace)))


def _span(parsed: argparse.Namespace, trace: "Trace") -> "RowRange":
    if parsed.step is not None:
        return trace.positions.step(parsed.step)
    if parsed.row is not None:
        return trace.positions.row(parsed.row)
    return trace.positions.window(parsed.window)


def _print_origins(
    parsed: argparse.Namespace, trace: "Trace", found: Iterator[tuple["RowProvenance", int | None]]
) -> None:
    from pipeline.audit.trace import origin_json, origin_line, text_lines

    texts = _with_texts(parsed, trace, found) if parsed.text else ((*one, None) for one in found)
    if parsed.json:
        print_json_list(
            origin_json(origin, text=text, offset=offset) for origin, offset, text in texts
        )
        return
    for origin, offset, text in texts:
        print(origin_line(origin, offset))
        if text is not None:
            print(text_lines(text))


def _with_texts(
    parsed: argparse.Namespace, trace: "Trace", found: Iterator[tuple["RowProvenance", int | None]]
) -> Iterator[tuple["RowProvenance", int | None, str]]:
    from pipeline.dataset import open_rows

    # The texts are read some rows ahead, so that neighbours are read together.
    found, ahead = tee(found)
    numbers = (origin.row for origin, _ in ahead)
    texts = trace.texts(numbers, open_rows(trace.out), trace.load_tokenizer(parsed.tokenizer))
    for (origin, offset), text in zip(found, texts, strict=True):
        yield origin, offset, text
