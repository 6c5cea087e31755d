"""Report: findings -> a line for each partition, and one for each contradiction."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from pipeline.audit.attest.evidence import Evidence
from pipeline.audit.attest.findings import Finding

# Of partitions of which nothing is known.
_MOST_LISTED = 20


def table(evidence: Evidence, findings: Sequence[Finding]) -> Iterator[tuple[str, str, str]]:
    """Yield partition, verdict, and what it is by; those of which nothing is known come last."""
    by_partition: defaultdict[str, list[Finding]] = defaultdict(list)
    for one in findings:
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


def lines(evidence: Evidence, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield every contradiction with its page, then the sums."""
    wrong = [one for one in findings if not one.agrees]
    for one in wrong:
        yield (
            f"contradicts: {one.fact.name}: {one.what}: got {one.got}, expected {one.expected} "
            f"({one.fact.source})"
        )
    known = {one.partition for one in findings}
    there = set(evidence.partitions())
    repo = evidence.repo or "no repository that facts are known of; name one with --as"
    yield (
        f"{evidence.where}: as {repo}: {len(findings) - len(wrong):,} facts agree, {len(wrong):,} "
        f"contradict; of {len(there - known):,} of {len(there):,} partitions nothing is known"
    )


def as_json(evidence: Evidence, findings: Sequence[Finding]) -> dict[str, object]:
    """Return all findings as JSON values."""
    known = {one.partition for one in findings}
    return {
        "where": evidence.where,
        "repo": evidence.repo,
        "agrees": all(one.agrees for one in findings),
        "findings": [
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
            for one in findings
        ],
        "nothing_known": [name for name in evidence.partitions() if name not in known],
    }
