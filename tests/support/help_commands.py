"""The commands of `ettin-data`, each with its parser."""

import argparse
from collections.abc import Iterator

from pipeline.cli.arguments import Parser
from pipeline.cli.main import build_parser


def _commands(parser: argparse.ArgumentParser) -> Iterator[Parser]:
    """Yield the parsers of commands, which have no others below them."""
    below = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    for action in below:
        for one in action.choices.values():
            yield from _commands(one)
    if not below:
        assert isinstance(parser, Parser)
        yield parser


COMMANDS = {one.prog: one for one in _commands(build_parser()[0])}
"""Parsers by command, such as `ettin-data cache prune`, in the order of `--help`."""
