"""Report: verdicts -> a line for each partition, and one for each contradiction."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from pipeline.audit.attest.evidence import Evidence
from pipeline.audit.attest.facts import Fact
from pipeline.audit.attest.verdicts import Verdict

# Of partitions of which nothing is known.
_MOST_LISTED = 20


def table(evidence: Evidence, verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, str]]:
    """Yield partition, verdict, and what it is by; those of which nothing is known come last."""
    by_partition: defaultdict[str, list[Verdict]] = defaultdict(list)
    for one in verdicts:
        by_partition[one.partition].append(one)
    for name, own in sorted(by_partition.items()):
        wrong = list(dict.fromkeys(one.what for one in own if not one.agrees))
        right = list(dict.fromkeys(one.what for one in own if one.agrees))
        yield name, "contradicts" if wrong else "agrees", ", ".join(wrong or right)
    unknown = [name for name in evidence.partitions() if name not in by_partition]
    for name in unknown[:_MOST_LISTED]:
        yield name, "nothing known", ""
    if len(unknown) > _MOST_LISTED:
        yield f"{len(unknown) - _MOST_LISTED:,} more", "nothing known", ""


def lines(evidence: Evidence, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield every contradiction with its page, what was not read, then the sums of facts."""
    for one in verdicts:
        if not one.agrees:
            yield (
                f"contradicts: {one.fact.name}: {one.what}: got {one.got}, expected "
                f"{one.expected} ({one.fact.source}{_revision(evidence, one.fact)})"
            )
    if evidence.too_large:
        yield (
            f"{evidence.where}: {len(evidence.too_large):,} files were not read for their size, "
            f"such as {min(evidence.too_large)}"
        )
    wrong = {_key(one) for one in verdicts if not one.agrees}
    right = {_key(one) for one in verdicts} - wrong
    known = {one.partition for one in verdicts}
    there = set(evidence.partitions())
    repo = evidence.repo or "no repository that facts are known of; name one with --as"
    yield (
        f"{evidence.where}: as {repo}: {len(right):,} facts agree, {len(wrong):,} contradict; of "
        f"{len(there - known):,} of {len(there):,} partitions nothing is known"
    )


def _key(verdict: Verdict) -> tuple[str, str, str]:
    return verdict.fact.path, verdict.fact.kind, verdict.fact.source


def _revision(evidence: Evidence, fact: Fact) -> str:
    """Return words for the commit that a fact is of, unless it is that of the evidence."""
    is_commit = re.fullmatch("[0-9a-f]{7,40}", fact.revision)
    if not is_commit or evidence.revision is None or evidence.revision.startswith(fact.revision):
        return ""
    return f", of revision {fact.revision[:12]}"


def as_json(evidence: Evidence, verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Return all verdicts as JSON values."""
    known = {one.partition for one in verdicts}
    return {
        "where": evidence.where,
        "repo": evidence.repo,
        "revision": evidence.revision,
        "agrees": all(one.agrees for one in verdicts),
        "verdicts": [
            {
                "partition": one.partition,
                "fact": one.fact.name,
                "kind": one.fact.kind,
                "what": one.what,
                "got": one.got,
                "expected": one.expected,
                "agrees": one.agrees,
                "revision": one.fact.revision,
                "source": one.fact.source,
            }
            for one in verdicts
        ],
        "not_read": sorted(evidence.too_large),
        "nothing_known": [name for name in evidence.partitions() if name not in known],
    }
