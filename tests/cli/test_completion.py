"""Completion: shells run the script and are asked what they would offer."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import builds

SCRIPTS = {"bash": "scripts/bash", "zsh": "scripts/_ettin-data", "fish": "scripts/fish"}
"""Where each shell finds its script; that of zsh is found by its name."""

BASH = """\
source {script}
COMP_WORDS=({words} {last})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
compopt() {{ :; }}
_shtab_ettin_data ettin-data {last} ''
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ZSH = """\
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell "PS1=; fpath=({folder} \\$fpath); autoload -Uz compinit && compinit -u -D"
zpty -w shell "LISTMAX=9999; bindkey '^I' list-choices; print READY"
zpty -r shell seen '*READY*READY*'
zpty -w -n shell {line}$'\\t'
sleep 1
zpty -w -n shell $'\\x15'
zpty -w shell "print DONE"
zpty -r shell seen '*DONE*DONE*'
print -r -- $seen
"""
FISH = "source {script}; complete -C {line}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a mixture, another file, a folder, and the scripts."""
    folder = tmp_path_factory.mktemp("completion")
    for name in ("letters.yaml", "letters.txt"):
        (folder / name).touch()
    (folder / "letters").mkdir()
    for shell, path in SCRIPTS.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(builds.run_well("completion", shell))
    return folder


def shell(name: str, script: str, folder: Path) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [name, *(["-f"] if name == "zsh" else []), "-c", script], cwd=folder, text=True,
        env={**os.environ, "HOME": str(folder), "TERM": "dumb", "COLUMNS": "400"},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def bash(line: str, folder: Path) -> set[str]:
    *words, last = line.split(" ")
    script = BASH.format(script="scripts/bash", words=shlex.join(words), last=shlex.quote(last))
    return set(shell("bash", script, folder).split())


def zsh(line: str, folder: Path) -> set[str]:
    script = ZSH.format(folder=folder / "scripts", line=shlex.quote(line))
    return set(shell("zsh", script, folder).split())


def fish(line: str, folder: Path) -> set[str]:
    script = FISH.format(script="scripts/fish", line=shlex.quote(line))
    return {one.split("\t")[0].rstrip("/") for one in shell("fish", script, folder).splitlines()}


@pytest.mark.parametrize("offered", [bash, zsh, fish])
@pytest.mark.parametrize(
    ("line", "among", "not_among"),
    [
        ("ettin-data ver", {"verify"}, {"build"}),
        ("ettin-data cache ", {"list", "prune", "verify"}, {"build"}),
        ("ettin-data verify --a", {"--against"}, {"--view"}),
        ("ettin-data verify x --view ", {"auto", "stored", "encoder", "decoder"}, {"--rows"}),
        ("ettin-data build sa", {"sample"}, {"ettin-decay", "letters.txt"}),
        ("ettin-data build let", {"letters.yaml"}, {"letters.txt", "sample"}),
        ("ettin-data train sample-encoder-e", {"sample-encoder-extension"}, {"letters.yaml"}),
        ("ettin-data verify let", {"letters"}, {"letters.txt"}),
        ("ettin-data report x --out let", {"letters.txt", "letters.yaml"}, {"verify"}),
    ],
)  # fmt: skip
def test_a_shell_offers_what_may_follow(
    offered: Callable[[str, Path], set[str]],
    line: str,
    among: set[str],
    not_among: set[str],
    folder: Path,
) -> None:
    found = {one.rstrip("/") for one in offered(line, folder)}
    assert among <= found
    assert not found & not_among
