"""What property tests draw from. Derandomised: a run differs from the one before by code alone."""

from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

QUICK = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Settings of every property test; a shared folder of pytest's is fine, since names differ."""


class Row(NamedTuple):
    """A row of a shard."""

    id: str
    """Its document."""
    ids: list[int]
    """Its tokens, at least one."""


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
"""Texts that UTF-8 can hold: control characters, line ends and all planes included."""

document_ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Ids of documents, which may be empty and of several bytes a character."""


def rows(largest: int, max_size: int = 12) -> st.SearchStrategy[list[Row]]:
    """Rows whose tokens are at most `largest`."""
    tokens = st.lists(st.integers(0, largest), min_size=1, max_size=20)
    return st.lists(st.builds(Row, document_ids, tokens), max_size=max_size)


def lengths(largest: int) -> st.SearchStrategy[list[int]]:
    """Lengths of tokenised documents: CLS, at least one id, SEP."""
    return st.lists(st.integers(3, largest), max_size=12)


def cuts(total: int) -> st.SearchStrategy[list[int]]:
    """Where to split a sequence of `total` things into blocks: rising positions from 0 to total."""
    inner = st.lists(st.integers(0, total), max_size=4)
    return inner.map(lambda places: [0, *sorted(places), total])
