"""Output as input: files of a build are no documents of a source, whatever a pattern reaches.

The one exception are the chunks of another build, where the mixture names them up to `train/`.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.dataset import TRAIN, is_build_folder
from pipeline.sources import InputFile
from pipeline.storage import fixed_folder, local_path


def refuse_output(
    where: str,
    patterns: Sequence[str],
    folder: Path,
    files: Sequence[InputFile],
    out: Path | None = None,
) -> None:
    """Refuse files that are part of the output of a build, unless they are chunks, named so.

    where: what names the patterns. folder: the mixture's. out: the output of this build, of which
    nothing is read.

    Raises: InputError, naming the output.
    """
    named = [fixed_folder(folder, path).resolve() for path in map(_on_disk, patterns) if path]
    own = None if out is None else out.resolve()
    is_ours = cache(is_build_folder)

    @cache
    def output_of(parent: Path) -> Path | None:
        """Return the output that a folder is or lies in: thousands of files may share it."""
        return next(filter(is_ours, (parent, *parent.parents)), None)

    for file in files:
        path = _on_disk(file.declared)
        if path is None:
            continue
        real = (folder / path).resolve()
        output = output_of(real.parent)
        if own is not None and real.is_relative_to(own):
            raise InputError(
                f"{where}: {file.declared} is part of --out {out}",
                "read and write in folders apart",
            )
        if output is None:
            continue
        train = output / TRAIN
        is_named = any(base.is_relative_to(train) and real.is_relative_to(base) for base in named)
        if not (is_named and file.kind.startswith(".mds")):
            raise InputError(
                f"{where}: {file.declared} is part of {output}, the output of a build",
                f"leave it out with a narrower pattern; to read its chunks, name {train}/…",
            )


def _on_disk(declared: str) -> str | None:
    """Return the path of a file or pattern as declared; None for an address that is elsewhere."""
    if "://" not in declared:
        return declared
    return str(local_path(declared)) if declared.startswith(("file:", "local:")) else None
