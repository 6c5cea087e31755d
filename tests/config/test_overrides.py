"""Overrides are read like the file and recorded in one spelling."""

import pytest
from support.mixtures import (
    DIFFER,
    ETTIN,
    ORDER_KEYS,
    ORIGIN_KEYS,
    SMALLEST,
    TOKENS,
    TOP_KEYS,
    changed,
    problems,
    read,
)


def test_an_override_is_the_same_as_writing_it_in_the_file() -> None:
    overridden = read(ETTIN, "order.view=decoder", "chunk.size=2048")
    written = read(changed("size: 1024", "size: 2048", changed("view: encoder", "view: decoder")))
    assert overridden.fingerprint == written.fingerprint
    assert overridden.overrides == ("chunk.size=2048", "order.view=decoder")
    assert (overridden.order, overridden.chunk) == (written.order, written.chunk)


def test_an_override_replaces_a_wrong_value() -> None:
    assert read(changed("size: 1024", "size: many"), "chunk.size=1024") != read(ETTIN)
    assert read(changed("size: 1024", "size: many"), "chunk.size=1024").chunk == read(ETTIN).chunk


def test_an_override_adds_a_key_that_the_file_leaves_out() -> None:
    mixture = read(SMALLEST, "shards.dtype=uint16", "order.epoch=2", "on_error=skip")
    assert (mixture.shards.dtype, mixture.order.epoch, mixture.on_error) == ("uint16", 2, "skip")


def test_what_is_missing_beside_an_override_is_missing_in_the_file() -> None:
    text = changed("order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}\n", "", SMALLEST)
    assert problems(text, "order.seed=1", "order.max_seq_len=8") == [
        "a.yaml:1:1: order.global_batch_size: got nothing, expected an integer from 1 to "
        "2,147,483,647"
    ]


def test_an_override_reaches_a_source_with_dots_in_its_name() -> None:
    text = changed("  books:", "  b.v1:", SMALLEST)
    text = changed("order:", "  b: {from: {path: c}}\norder:", text)
    b, b_v1 = read(text, "sources.b.v1.tokens=5M").sources
    assert (b.tokens, b_v1.tokens) == (None, 5_000_000)


def test_an_override_may_be_a_list_or_a_mapping() -> None:
    assert read(ETTIN, "sources.books.from.path=[a,b]").sources[0].origin.path == ("a", "b")
    source = read(SMALLEST, "sources={x: {from: {path: a}}}").sources[0]
    assert (source.name, source.origin.path) == ("x", ("a",))


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (" order.view = decoder ", "order.view=decoder"),
        ('order.view="decoder"', "order.view=decoder"),
        ("order.view='decoder' # c", "order.view=decoder"),
        ('name="7"', 'name="7"'),
        ('name="no"', 'name="no"'),
        ("sources.books.tokens=5M", "sources.books.tokens=5M"),
        ("sources.books.from.path=a/*.gz", "sources.books.from.path=a/*.gz"),
        ("sources.books.from.path='*.gz'", 'sources.books.from.path="*.gz"'),
        ("sources.books.from.path=[a,b]", 'sources.books.from.path=["a", "b"]'),
        ("sources.books.from.id=~", "sources.books.from.id=~"),
        ("sources.books.from={path: ä b}", 'sources.books.from={"path": "ä b"}'),
        ("chunk.add_eos=true", "chunk.add_eos=true"),
    ],
)
def test_overrides_are_recorded_in_a_form_that_reads_back(given: str, recorded: str) -> None:
    mixture = read(ETTIN, given)
    assert mixture.overrides == (recorded,)
    assert read(ETTIN, recorded) == mixture


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "order.veiw=decoder",
            f'order.veiw: got an unknown key, expected one of {ORDER_KEYS}; did you mean "view"?',
        ),
        (
            "ordr.view=decoder",
            f'ordr: got an unknown key, expected one of {TOP_KEYS}; did you mean "order"?',
        ),
        (
            "sources.boks.tokens=5M",
            'sources.boks: got an unknown name, expected one of peps, books; did you mean "books"?',
        ),
        (
            "sources.books.tokens=5m",
            f'sources.books.tokens: got "5m", expected {TOKENS}; did you mean 5M?',
        ),
        (
            "order.view=no",
            f"order.view: got no, {DIFFER}, expected one of stored, encoder, decoder",
        ),
        ("chunk.size=", "chunk.size: got nothing, expected an integer from 4 to 1,000,000"),
        (
            "chunk.size=9000",
            "chunk.size: got 9000, expected at most 8,999 with ettin-reencode-v1: "
            "token_decile.json has no key above 8k",
        ),
        (
            "sources.books.from={pth: a, path: b}",
            f"sources.books.from.pth: got an unknown key, expected one of {ORIGIN_KEYS}; did you "
            'mean "path"?',
        ),
        ("name.x=1", 'name.x: got a key inside "ettin", expected a key inside a mapping'),
        ("order.view", 'order.view: got "order.view", expected key=value with a dotted key'),
        ("=1", '"=1": got "=1", expected key=value with a dotted key'),
        ("order..view=1", 'order..view: got "order..view=1", expected key=value with a dotted key'),
        (
            "order.view=\udcff",
            'order.view: got "order.view=?", where ? is not UTF-8, expected text in UTF-8',
        ),
        (
            "order.view={a",
            "order.view: got text that is not YAML (while parsing a flow mapping, expected ',' or "
            "'}', but got '<stream end>'), expected YAML",
        ),
    ],
)
def test_a_wrong_override_is_refused_by_its_own_name(override: str, problem: str) -> None:
    assert problems(ETTIN, override) == [f"--set {problem}"]


@pytest.mark.parametrize("second", ["order.view=decoder", "order={seed: 1}", "order.view.x=1"])
def test_an_override_given_twice_is_refused(second: str) -> None:
    assert problems(ETTIN, "order.view=stored", second) == [
        f"--set {second.partition('=')[0]}: got a key that is set twice, expected each key once"
    ]


def test_one_override_too_many_is_refused_even_if_both_agree() -> None:
    # No hint says which of the two to keep.
    assert problems(ETTIN, "order.view=stored", "order.view=stored") == [
        "--set order.view: got a key that is set twice, expected each key once"
    ]
