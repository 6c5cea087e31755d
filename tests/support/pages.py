"""The blocks of a page of the documentation, as a reader would run them.

A comment on the line before a block says what becomes of it:

| mark | the block |
| --- | --- |
| `run` | is run; `run: store` by the page's own test, against what it names |
| `start` | is started, and goes on until the page's own test stops it |
| `file: NAME` | is a file of that name for the blocks after it |
| `over: NAME` | is the part of a mixture that changes the file NAME of the page |
| `output` | is what a command prints |
| `covered: TEST, ...` | is run by these tests, or what it calls is |
| `not run: REASON` | cannot be run here |
"""

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from support import builds

KINDS = ("run", "start", "file", "over", "output", "covered", "not run")
_OF_A_SHELL = set("();<>|&$*?~`![]{}")


@dataclass(frozen=True)
class Block:
    """A block between fences, and the mark on the line before it."""

    mark: str
    language: str
    text: str

    @property
    def kind(self) -> str:
        """What becomes of it, one of `KINDS`."""
        return self.mark.partition(":")[0]

    @property
    def about(self) -> str:
        """What the mark says after its kind: a name, tests or a reason."""
        return self.mark.partition(":")[2].strip()


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, each of which must have a mark."""
    text = page.read_text()
    found = [Block(*one) for one in re.findall(r"<!-- (.+?) -->\n```(\w*)\n(.*?)```", text, re.S)]
    assert len(found) * 2 == len(re.findall(r"^```", text, re.MULTILINE)), "a block has no mark"
    return found


def environment(**variables: str) -> dict[str, str]:
    """Return that of a reader, who has the tool and the python of the tests on the path."""
    here = os.path.dirname(sys.executable)
    added = builds.environment()["PYTHONPATH"]
    path = variables.pop("PATH", os.environ["PATH"])
    return builds.environment(
        PATH=f"{here}{os.pathsep}{path}",
        PYTHONPATH=f"{added}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        **variables,
    )


def run(script: str, folder: Path, **variables: str) -> str:
    """Run a script of a page; return its stdout."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_block(block: Block, folder: Path) -> str:
    """Run a block, what it can of it in this process; return its stdout."""
    if block.language == "python":
        return run_python(block.text, folder)
    commands, rest = plain_commands(block.text)
    printed = "".join(builds.run_well(*words[1:], cwd=folder) for words in commands)
    return printed + (run(rest, folder) if rest else "")


def run_python(program: str, folder: Path, **names: object) -> str:
    """Run a program in this process, which is quick, as all is warm; return its stdout."""
    with redirect_stdout(io.StringIO()) as stdout, chdir(folder):
        exec(compile(program, "a block of the page", "exec"), {"__name__": "__main__", **names})
    return stdout.getvalue()


def plain_commands(script: str) -> tuple[list[list[str]], str]:
    """Return the words of the first lines that call the tool and need no shell, and the rest."""
    commands = []
    lines = script.replace("\\\n", " ").splitlines()
    for number, line in enumerate(lines):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # A quote over several lines.
            return commands, "\n".join(lines[number:])
        bare = re.sub(r"'[^']*'", "", line.partition(" #")[0])
        if words and (words[0] != "ettin-data" or _OF_A_SHELL & set(bare)):
            return commands, "\n".join(lines[number:])
        commands += [words] if words else []
    return commands, ""
