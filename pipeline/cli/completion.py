"""`ettin-data completion`: a script that completes commands, options, bundled names and files."""

import argparse
from collections.abc import Iterator
from typing import Any

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.core.bundled import bundled_names


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "completion",
        run,
        "print a script for the shell that completes commands, options, names and files",
        "Save it where the shell looks for completions; the guide says where.",
        examples=(
            "ettin-data completion bash > ettin-data.bash",
            "ettin-data completion fish > ettin-data.fish",
        ),
        guide="docs/guide/command-line.md#completion",
    )
    options.add("shell {bash,zsh,fish}", "shell that the script is for")


def run(parsed: Arguments) -> int:
    """Print the script of a shell, of all commands as they are in this version."""
    import shtab

    parser = parsed.parser
    files, folders = shtab.FILE, shtab.DIRECTORY
    completed = {
        **dict.fromkeys(
            ("A", "B", "FILE", "KEY", "PUBLIC", "RAW", "SHARD", "WHAT", "WHERE"), files
        ),
        **dict.fromkeys(("BUNDLE", "CHECKPOINT", "DIR", "FOLDER", "MODEL", "POOL"), folders),
        "MIXTURE": _bundled("mixtures", ".yaml"),
        "RECIPE": _bundled("recipes", ".yaml"),
    }
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar in completed:
            action.complete = completed[action.metavar]  # type: ignore[attr-defined]
    print(shtab.complete(parser, parsed.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options and arguments of a parser and of all below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _actions(one)
        else:
            yield action


def _bundled(kind: str, suffix: str) -> dict[str, Any]:
    """Return what completes the names of what ships, and files, as `shtab` takes it."""
    names, function = " ".join(bundled_names(kind, suffix)), f"_ettin_data_{kind}_and_files"
    # A path and what it is, with a tab between.
    only = f"^[^\\t]*(?:\\{suffix}|/)(?:\\t.*)?$"
    return {
        "bash": function,
        "zsh": function,
        "fish": f"({function})",
        "preamble": {
            "bash": f'{function}() {{\n  compgen -W "{names}" -- "$1"\n'
            f'  compgen -f -X \'!*{suffix}\' -- "$1"\n  compgen -d -- "$1"\n}}',
            "zsh": f"{function}() {{\n  compadd -- {names}\n  _files -g '*{suffix}'\n}}",
            "fish": f"function {function}\n  printf '%s\\n' {names}\n"
            f"  __fish_complete_path (commandline -ct) | string match -r '{only}'\nend",
        },
    }
