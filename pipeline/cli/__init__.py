"""The command line: parse, call the library once, print.

`arguments` says how a command line is read, `printing` how results are shown; each of the other
modules holds the commands of one kind.
"""

from pipeline.cli.main import main

__all__ = [
    "main",
]
