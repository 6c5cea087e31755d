"""`ettin-data new`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_json, print_lines, print_warnings
from pipeline.cli.shown_progress import show_progress
from pipeline.cli.table import print_table
from pipeline.core.errors import OutputError
from pipeline.core.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from pipeline.runner.setup import Proposal


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "new",
        run,
        "write a mixture file for your own files",
        "Looks at the files: format, fields, lengths, tokens, scripts, ids. Writes NAME.yaml, which"
        " builds as it is, with what it found and what to decide as comments.",
        examples=(
            "ettin-data new mine data/ books-0001.json.gz",
            "ettin-data new web 'hf://datasets/lena/stories@main/*.jsonl'",
        ),
        guide="docs/guide/custom-mixture.md#from-your-own-files",
    )
    options.add("name NAME", "name of the mixture, and of its file")
    what = (
        "files, folders, quoted globs, or addresses: hf://datasets/ORG/NAME[@REVISION][/PATH],"
        " s3://…, https://…; each is a source, or one for each kind of file in it"
    )
    options.add("files FILE", what, nargs="+")
    options.add("--out FILE", "where to write it (default: NAME.yaml)", Path)
    options.add("--force", "replace a file that is there")
    options.add_progress()


def run(parsed: Arguments) -> int:
    """Write a mixture file, and say which commands come next."""
    from pipeline.core.files import publish_beside
    from pipeline.runner.setup import describe, draft_mixture, write_text

    path: Path = parsed.out or Path(f"{parsed.name}.yaml")
    _check_out(path, is_forced=parsed.force)
    with show_progress(parsed, path.parent) as show:
        proposal = draft_mixture(parsed.name, parsed.files, path.parent, show)
    text = write_text(proposal, path)
    with publish_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if proposal.left_out:
        shown = ", ".join(proposal.left_out[:5])
        print_warnings([f"left out {len(proposal.left_out):,} files that are no data: {shown}"])
    print_warnings(proposal.warnings)
    if parsed.json:
        print_json({"mixture": str(path), **describe(proposal), "next": _next(proposal, path)})
    else:
        _print(proposal, path)
    return 0


def _check_out(path: Path, *, is_forced: bool) -> None:
    """Raises: OutputError where no mixture can be written, or none should be."""
    from pipeline.dataset import is_build_folder

    if path.exists() and not is_forced:
        raise OutputError(
            f"{path}: got a file that is there, expected none",
            "--force replaces it; --out FILE writes another",
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"{path}: got no folder {path.parent}, expected one to write to",
            "make the folder first, or name another file with --out",
        )
    if output := next(filter(is_build_folder, path.resolve().parents), None):
        raise OutputError(
            f"{path}: got a file inside {output}, the output of a build, expected one elsewhere",
            "`verify` refuses an output with other files in it; name another file with --out",
        )


def _print(proposal: "Proposal", path: Path) -> None:
    from pipeline.runner.setup import format_percent

    rows = []
    for one in proposal.sources:
        share = proposal.shares.get(one.name)
        fields = "" if one.group.is_text else f"{one.fields.text}, {one.fields.id or 'no id'}"
        rows.append(
            (
                one.name,
                " ".join(one.group.kinds),
                fields,
                f"{len(one.group.files):,}",
                format_bytes(one.group.num_bytes),
                ("" if one.is_counted else "~") + format_tokens(one.num_tokens),
                "all" if share is None else format_percent(share),
            )
        )
    print_table(("source", "kind", "text, id"), ("files", "size", "tokens", "share"), rows)
    print_lines([f"{path}: written; it builds as it is. Read it, then:", *_next(proposal, path)])


def _next(proposal: "Proposal", path: Path) -> list[str]:
    """Return the commands that come next."""
    # The output is a new folder, though the files may lie in one of this name.
    name = proposal.name if not Path(proposal.name).exists() else f"{proposal.name}-out"
    mixture, out = shlex.quote(str(path)), shlex.quote(name)
    commands = [f"ettin-data plan {mixture}", f"ettin-data build {mixture} --out {out}"]
    return [f"ettin-data lock {mixture}", *commands] if proposal.is_remote else commands
