"""`ettin-data attest --probe`: small requests to the Hub, and what they come to."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments
from pipeline.cli.output import print_json, print_lines
from pipeline.core.errors import InputError, NetworkError

if TYPE_CHECKING:
    from pipeline.audit.attest import Conclusion, Outcome

# The first wait is a second, and the second two.
_MOST_TRIES = 3


def run_probe(parsed: Arguments) -> int:
    """Print each check as it is made. Return 0 where the bundled mixtures alone fit.

    Raises: ConfigError for a data set that no check is of.
    """
    from pipeline.audit.attest import conclude, probe
    from pipeline.storage import RetryPolicy

    outcomes: list[Outcome] = []
    retry = RetryPolicy(max_tries=_MOST_TRIES)
    for one in probe(parsed.max_bytes, parsed.probe or None, parsed.stands_for, retry):
        outcomes.append(one)
        if not parsed.json:
            print_lines(_lines(one, parsed.max_bytes))
    found = conclude([sign for one in outcomes for sign in one.signs])
    num_bytes = sum(one.num_bytes for one in outcomes)
    if parsed.json:
        print_json(_as_json(outcomes, found, num_bytes))
    else:
        print_lines(line for one in found for line in one.lines())
        num_settled = sum(one.state == "settled" for one in outcomes)
        print(f"{num_settled} of {len(outcomes)} checks settled with {num_bytes:,} bytes")
    return _exit_code(outcomes, found)


def _lines(outcome: "Outcome", max_bytes: int) -> Iterator[str]:
    check = outcome.check
    most = f"up to {check.most_bytes:,} bytes of {check.repo}"
    if outcome.state == "settled":
        told = "; ".join(sign.says for sign in outcome.signs if sign.says)
        yield f"{check.settles}: {told} ({outcome.num_bytes:,} bytes)"
    elif outcome.state == "refused":
        yield f"{check.settles}: not settled: {outcome.problem} ({outcome.num_bytes:,} bytes)"
    elif outcome.state == "left":
        yield f"{check.settles}: not asked: {most} could pass --max-bytes, {max_bytes:,}"
    else:
        problem = f"{outcome.problem}; " if outcome.problem else ""
        yield f"{check.settles}: {problem}would have asked for {most}:"
        yield from (f"  {url}" for url in outcome.urls)


def _exit_code(outcomes: Sequence["Outcome"], found: Sequence["Conclusion"]) -> int:
    verdicts, states = {one.verdict for one in found}, {one.state for one in outcomes}
    if "contradicts" in verdicts:
        return 1
    if "unreachable" in states:
        return NetworkError.exit_code
    if "refused" in states:
        return InputError.exit_code
    return 1 if "not settled" in verdicts or not found else 0


def _as_json(
    outcomes: Sequence["Outcome"], found: Sequence["Conclusion"], num_bytes: int
) -> dict[str, object]:
    return {
        "bytes": num_bytes,
        "checks": [
            {
                "settles": one.check.settles,
                "repo": one.check.repo,
                "state": one.state,
                "bytes": one.num_bytes,
                "most_bytes": one.check.most_bytes,
                "urls": one.urls,
                "signs": {sign.about: sign.value for sign in one.signs},
                "problem": one.problem or None,
            }
            for one in outcomes
        ],
        "phases": [
            {
                "phase": one.phase,
                "verdict": one.verdict,
                "ways": one.ways,
                "settings": one.settings,
                "differs": one.differs,
                "notes": one.notes,
                "ids": one.ids,
                "head": one.layout or None,
            }
            for one in found
        ],
    }
