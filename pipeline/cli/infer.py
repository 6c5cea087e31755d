"""What `ettin-data attest --infer` prints."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import show_progress
from pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.audit.attest import Fit, Inference

_MOST_SHOWN = 5


def run_infer(parsed: Arguments) -> int:
    """Infer from raw documents, or from a shard alone; 0 if one way reproduces it, else 1."""
    from pipeline.audit.attest import describe_shard, digest_of, infer, load_facts, open_shard

    if parsed.against is None:
        raise ConfigError("--infer: expected --against SHARD or a sha256 with it", "name it")
    if parsed.infer == "" and digest_of(parsed.against):
        raise ConfigError(
            f"--infer: got the digest {parsed.against} without raw documents, expected a shard",
            "name the file of documents after --infer, or the shard itself after --against",
        )
    if parsed.infer == "":
        signs = describe_shard(open_shard(Path(parsed.against)))
        print_result(parsed, {"shard": parsed.against, "signs": signs}, signs)
        return 0
    with show_progress(parsed) as show:
        found = infer(Path(parsed.infer), parsed.against, load_facts(), show)
    print_result(parsed, asdict(found), _lines(found))
    return 0 if found.fits and found.fits[0].is_exact else 1


def _lines(found: "Inference") -> list[str]:
    lines = [f"{found.target}: {found.num_tried:,} tried", *found.notes]
    exact = [fit for fit in found.fits if fit.is_exact]
    if exact:
        return [*lines, *(f"reproduces {_share(fit, found)}: {_told(fit)}" for fit in exact)]
    lines.append("none reproduces it")
    for fit in found.fits[:_MOST_SHOWN]:
        lines.append(f"makes {_share(fit, found)}: {fit.making.words}")
        lines.append(f"  but {fit.difference}")
    return lines


def _share(fit: "Fit", found: "Inference") -> str:
    """Return how much of the target a way makes."""
    if found.num_rows < 0:
        return "its digest"
    of = "" if fit.num_compared == found.num_rows else f" compared, of {found.num_rows:,}"
    return f"{fit.num_rows:,} of {fit.num_compared:,} rows{of} ({fit.num_ids:,} ids)"


def _told(fit: "Fit") -> str:
    settings = fit.making.settings
    form = "" if fit.form is None else f"; {fit.form.words}"
    if settings is None:
        return f"{fit.making.words}{form}; no algorithm of a mixture makes such rows"
    more = [] if fit.form is None else fit.form.settings
    return f"{fit.making.words}{form}; set {' '.join([*settings, *more])}"
