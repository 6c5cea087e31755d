"""Source: a named origin of documents, what is filtered out of it, and how much of it is taken."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal

from pipeline.config.fields import Section, SectionTable, apply_rule, key
from pipeline.config.filters import FILTERS, Filter
from pipeline.config.origin import ORIGIN, Origin
from pipeline.config.text_types import LINE, SOURCE_NAME
from pipeline.config.value_types import Nullable, Ratio, Tokens, Whole


def source_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Complain of keys that do not go together."""
    tokens, epochs = given.get("tokens"), given.get("epochs")
    if tokens is not None and epochs is not None:
        yield "epochs", "got both tokens and epochs, expected only one of them"
    if "tokens" not in given:
        return
    is_budget = isinstance(tokens, int)
    if is_budget and given.get("expected") is not None:
        yield "expected", "got it beside a budget, expected it beside `tokens: all` or epochs alone"
    if not is_budget and given.get("max_repetition", 1) != 1:
        yield "max_repetition", "got it without a budget, expected it beside `tokens: 5M` alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A named origin of documents, and how much of it is taken."""

    name: str
    """The source's key in the file; its folder in the output."""
    category: str = field(
        default="uncategorised", metadata=key(LINE, "Group under which reports count the source.")
    )
    licence: str | None = field(
        default=None,
        metadata=key(
            Nullable(LINE), "Terms under which the source is published.", changes_bytes=False
        ),
    )
    origin: Origin = field(metadata=key(ORIGIN, "Where the documents come from.", name="from"))
    filters: tuple[Filter, ...] = field(
        default=(), metadata=key(FILTERS, "What each document must pass, in this order.")
    )
    tokens: int | Literal["all"] | None = field(
        default=None,
        metadata=key(Tokens("all"), "Token budget; all, each chunk once, if nothing is said."),
    )
    epochs: Fraction | None = field(
        default=None,
        metadata=key(Ratio(), "How often each chunk is drawn, instead of tokens: 2, 2.5 or 3/2."),
    )
    max_repetition: int = field(
        default=1,
        metadata=key(
            Whole(1, 1000),
            "Most draws of one chunk, for a budget larger than the source.",
        ),
    )
    expected: int | None = field(
        default=None,
        metadata=key(
            Nullable(Tokens()),
            "What `all` or `epochs` is said to come to: shown by plan, the budget where `scale` is "
            "not 1, and compared with what came of it.",
        ),
    )

    def __post_init__(self) -> None:
        apply_rule(source_rule, self)
        if self.tokens is None and self.epochs is None:
            object.__setattr__(self, "tokens", "all")


SOURCES: Final = SectionTable(Section(Source, source_rule, composing=("origin",)), SOURCE_NAME)
