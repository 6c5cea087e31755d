"""How chunks are sampled to meet budgets: for a mixture, and for a source that differs from it."""

from typing import Final, Literal

from pipeline.config.settings import Complaints, Given, optional, setting, settings
from pipeline.config.value_types import LINE, SEED, OneOrMany

LONGEST_FIRST: Final = "ettin-longest-first-v1"
IN_SEQUENCE: Final = "ettin-partitions-v2"
"""Makes partitions one after the other, and none beyond the budget."""
BY_PARTITION: Final = ("ettin-partitions-v1", IN_SEQUENCE)
"""Take all chunks of a partition or none."""
Algorithm = Literal[
    "keyed-v1", "ettin-longest-first-v1", "ettin-partitions-v1", "ettin-partitions-v2"
]


@settings
class SampleSpec:
    algorithm: Algorithm = setting(
        "Versioned sampling algorithm: keyed-v1 samples single chunks, exact to one chunk; ettin-* "
        "as published: longest-first takes the longest chunks of one file after the other, "
        "partitions takes whole partitions: v1 after all were read, v2 the same ones without "
        "reading the others.",
        default="keyed-v1",
    )
    seed: int = setting(
        "Seed of the sampling; ettin-longest-first-v1 has no use for it.", SEED, default=0
    )


@settings
class SourceSample(SampleSpec):
    """How one source is sampled, with what it takes over from its mixture."""

    first: tuple[str, ...] = setting(
        "Partitions that ettin-longest-first-v1 takes before the others.",
        OneOrMany(LINE),
        default=(),
        omits_default=True,
    )


@settings
class OwnSample:
    """What a source says of its sampling; the mixture's `sample` says the rest."""

    algorithm: Algorithm | None = setting(
        "Sampling algorithm of this source; by default that of the mixture.", default=None
    )
    seed: int | None = optional("Seed of the sampling; by default that of the mixture.", SEED)
    first: tuple[str, ...] = setting(
        "Partitions that ettin-longest-first-v1 takes before the others, in this order; the others "
        "follow by name.",
        OneOrMany(LINE),
        default=(),
        omits_default=True,
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        first = given.get("first") or ()
        if first and given.get("algorithm") not in (None, LONGEST_FIRST):
            yield "first", ", ".join(first), f"it with {LONGEST_FIRST} only"
        if len(set(first)) < len(first):
            yield "first", ", ".join(first), "each partition once"

    def under(self, shared: SampleSpec) -> SourceSample:
        """Return what holds under the sampling of a mixture. Pure."""
        return SourceSample(
            algorithm=self.algorithm or shared.algorithm,
            seed=shared.seed if self.seed is None else self.seed,
            first=self.first,
        )
