"""The command line: arguments enter, printed results and an exit code leave.

Each verb is a file of its name with two functions: `add` declares its options, `run` parses them,
calls the library once and prints. `arguments` has the options that verbs share, `output` the
printing. A verb imports what it runs when it runs: `--help` loads neither numpy nor torch.
"""

from pipeline.cli.main import main

__all__ = ["main"]
