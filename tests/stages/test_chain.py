"""The chain of filters: every document comes out once, in order, however blocks are cut."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.filters import GOOD, LONG, REACHED, VARIED, document, made
from support.strategies import QUICK

from pipeline.core.document import Document
from pipeline.stages.filters.chain import make_filters
from pipeline.stages.filters.dependencies import identify

ALL = (
    "[length: {min_chars: 2}, regex: {pattern: forbidden}, pii, gopher_quality: "
    "{min_doc_words: 5, min_stop_words: null}, gopher_repetition, c4_quality: "
    "{min_num_sentences: 1}, fineweb_quality: {new_line_ratio: 1}]"
)
TEXTS = [
    *(text for _, text, _ in REACHED),
    VARIED,
    f"{VARIED}\nWrite to a@b.org or c@d.net, please.",
    f"{VARIED}\nforbidden",
    f"{GOOD}\n{VARIED}\nno stop\n{LONG} one.",
]
documents = st.lists(st.one_of(st.sampled_from(TEXTS), st.text(max_size=30)), max_size=8).map(
    lambda texts: [document(text, row) for row, text in enumerate(texts)]
)


@QUICK
@given(documents=documents, data=st.data())
def test_any_split_into_blocks_gives_the_same(
    documents: list[Document], data: st.DataObject
) -> None:
    filters = made(ALL)
    kept, dropped = filters.judge(documents)
    places = data.draw(st.permutations(range(len(documents))))
    alone = {place: filters.judge([documents[place]]) for place in places}
    assert kept == [one for row in sorted(alone) for one in alone[row][0]]
    assert dropped == [one for row in sorted(alone) for one in alone[row][1]]
    rows = sorted([one.row for one in kept] + [one.document.row for one in dropped])
    assert rows == list(range(len(documents)))
    assert all(one.text for one in kept)


def test_no_filter_keeps_all_and_needs_nothing() -> None:
    one = document("text")
    assert make_filters((), Path()).judge([one]) == ([one], [])
    assert identify((), Path()) == {}


def test_order_is_kept() -> None:
    texts = [VARIED, "short", GOOD, "x", VARIED + GOOD]
    kept, dropped = made("[length: {min_chars: 10}]").judge(
        [document(text, row) for row, text in enumerate(texts)]
    )
    assert [one.row for one in kept] == [0, 2, 4]
    assert [one.document.row for one in dropped] == [1, 3]
