"""Every value is refused where it is wrong, with what was expected."""

import pytest
from support.mixtures import (
    NAME,
    ORDER_KEYS,
    SMALLEST,
    SOURCE_KEYS,
    SOURCE_NAME,
    TOKENS,
    changed,
    problems,
)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("filters: [length: {min_chars: 9}]", "under each of the sources, as sources.NAME.filters"),
        ("epochs: 2", "under each of the sources, as sources.NAME.epochs"),
        ("from: {path: a.jsonl}", "under each of the sources, as sources.NAME.from"),
        ("decode: {}", "under each of the sources, as sources.NAME.from.decode"),
        ("max_seq_len: 1024", "elsewhere, as order.max_seq_len"),
    ],
)
def test_a_key_that_belongs_further_in_is_sent_there(key: str, advice: str) -> None:
    (problem,) = problems(f"{SMALLEST}{key}\n")
    name = key.partition(":")[0]
    assert f": {name}: got an unknown key, expected one of assumptions, chunk, " in problem
    assert problem.endswith(f"; it belongs {advice}")


def test_a_key_of_the_origin_beside_it_is_sent_there() -> None:
    (problem,) = problems(changed("tokens: 837.2B", "text: body"))
    assert problem.endswith("; it belongs elsewhere, as sources.books.from.text")


@pytest.mark.parametrize(
    ("good", "bad", "problem"),
    [
        (
            "tokens: 837.2B",
            "tokns: 837.2B",
            f"25:5: sources.books.tokns: got an unknown key, expected one of {SOURCE_KEYS}; "
            'did you mean "tokens"?',
        ),
        (
            "tokens: 837.2B",
            "xyz: 1",
            f"25:5: sources.books.xyz: got an unknown key, expected one of {SOURCE_KEYS}",
        ),
        (
            "name: ettin",
            "name: 5",
            f"2:7: name: got 5, expected {NAME}; put it in quotes if it is text",
        ),
        ("name: ettin", "name: ../x", f'2:7: name: got "../x", expected {NAME}'),
        ("name: ettin", "name: a..b", f'2:7: name: got "a..b", expected {NAME}'),
        ("name: ettin", 'name: "a\\n"', f'2:7: name: got "a\\n", expected {NAME}'),
        ("name: ettin", "name: [a]", f"2:7: name: got a list, expected {NAME}"),
        (
            "name: modernbert",
            "name: ModernBert",
            '6:9: tokenizer.name: got "ModernBert", expected modernbert, the path of a .json '
            'file, or a Hub id org/name; did you mean "modernbert"?',
        ),
        (
            "name: modernbert",
            "name: modernbert\n  revision: main",
            '7:13: tokenizer.revision: got "main", expected a commit of 40 hex characters',
        ),
        (
            "size: 1024",
            'size: "1024"',
            '10:9: chunk.size: got "1024", expected an integer from 4 to 1,000,000',
        ),
        (
            "size: 1024",
            "size: 3",
            "10:9: chunk.size: got 3, expected an integer from 4 to 1,000,000",
        ),
        (
            "size: 1024",
            f"size: {'9' * 5000}",
            f"10:9: chunk.size: got {'9' * 57}..., expected an integer from 4 to 1,000,000",
        ),
        (
            "size: 1024",
            "size: 1024.0",
            "10:9: chunk.size: got 1024.0, expected an integer from 4 to 1,000,000",
        ),
        (
            "size: 1024",
            "size:",
            "10:8: chunk.size: got nothing, expected an integer from 4 to 1,000,000",
        ),
        (
            "add_eos: false",
            'add_eos: "false"',
            '13:12: chunk.add_eos: got "false", expected true or false',
        ),
        (
            "  algorithm: ettin-reencode-v1",
            "  algorithm: ettin-reencode",
            '9:14: chunk.algorithm: got "ettin-reencode", expected one of ettin-line-v1, '
            "ettin-reencode-v1, ettin-retokenize-v1, ettin-slice-v1, ettin-slice-v2, whole-v1; did "
            'you mean "ettin-reencode-v1"?',
        ),
        (
            "{path: peps/*.json.gz}",
            "peps/*.json.gz",
            '18:11: sources.peps.from: got "peps/*.json.gz", expected a mapping with one '
            "of path, hub, url",
        ),
        (
            "{path: peps/*.json.gz}",
            "{text: body}",
            "18:11: sources.peps.from.path: got nothing, expected path (a glob of files), hub (a "
            "Hub id org/name) or url (an address)",
        ),
        (
            "path: [a/*.json.gz, b/*.json.gz]",
            "path: []",
            "23:13: sources.books.from.path: got an empty list, expected a glob of files, or a "
            "list of them",
        ),
        (
            "path: [a/*.json.gz, b/*.json.gz]",
            "path: [a, 5]",
            "23:17: sources.books.from.path[1]: got 5, expected a glob of files; put it in quotes "
            "if it is text",
        ),
        (
            "id: null",
            'id: ""',
            '24:11: sources.books.from.id: got "", expected a line of text, or null',
        ),
        (
            "837.2B",
            "837.2b",
            f'25:13: sources.books.tokens: got "837.2b", expected {TOKENS}; did you mean 837.2B?',
        ),
        (
            "837.2B",
            "12_000",
            f'25:13: sources.books.tokens: got "12_000", expected {TOKENS}; did you mean 12000?',
        ),
        (
            "837.2B",
            "All",
            f'25:13: sources.books.tokens: got "All", expected all or {TOKENS}; did you mean '
            '"all"?',
        ),
        ("837.2B", "[5M]", f"25:13: sources.books.tokens: got a list, expected all or {TOKENS}"),
        (
            "3/2",
            "0",
            "19:13: sources.peps.epochs: got 0, "
            "expected a number above 0 and at most 1000 such as 2, 2.5 or 3/2",
        ),
        (
            "3/2",
            "3/0",
            '19:13: sources.peps.epochs: got "3/0", '
            "expected a number above 0 and at most 1000 such as 2, 2.5 or "
            "3/2",
        ),
        (
            "3/2",
            "all",
            '19:13: sources.peps.epochs: got "all", '
            "expected a number above 0 and at most 1000 such as 2, 2.5 or "
            "3/2",
        ),
        (
            "view: encoder",
            "view: encodr",
            '32:9: order.view: got "encodr", expected one of stored, encoder, decoder; did you '
            'mean "encoder"?',
        ),
        (
            "seed: 21",
            "seed: -1",
            "28:9: order.seed: got -1, expected an integer from 0 to 4,294,967,295",
        ),
        (
            "100kB",
            "4GiB",
            "35:15: shards.size_limit: got 4GiB, expected from 1,024 to 4,294,967,295 bytes",
        ),
        (
            "100kB",
            "1023",
            "35:15: shards.size_limit: got 1023, expected from 1,024 to 4,294,967,295 bytes",
        ),
        (
            "shards:\n  dtype: uint16\n  size_limit: 100kB",
            "shards: null",
            "33:9: shards: got null, expected a mapping",
        ),
        (
            "view: encoder",
            'view: encoder\n  "\\e[31m": 1',
            f'33:3: "order.\\u001b[31m": got an unknown key, expected one of {ORDER_KEYS}',
        ),
        ("  peps:", "  a/b:", f'16:3: sources.a/b: got "a/b", expected {SOURCE_NAME}'),
        (
            "  peps:",
            "  index.json:",
            f'16:3: sources.index.json: got "index.json", expected {SOURCE_NAME}',
        ),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(good: str, bad: str, problem: str) -> None:
    assert problems(changed(good, bad)) == [f"a.yaml:{problem}"]


def test_required_keys_are_asked_for() -> None:
    assert problems("phase: x\n") == [
        f"a.yaml:1:1: name: got nothing, expected {NAME}",
        "a.yaml:1:1: order: got nothing, expected a mapping with global_batch_size, "
        "max_seq_len, seed",
        "a.yaml:1:1: chunk: got nothing, expected a mapping with size",
        "a.yaml:1:1: sources: got nothing, expected a mapping with at least one name",
    ]


def test_a_mixture_without_sources_is_refused() -> None:
    text = changed("sources:\n  books: {from: {path: books.jsonl}}", "sources: {}", SMALLEST)
    assert problems(text) == [
        "a.yaml:3:10: sources: got an empty mapping, expected a mapping with at least one name"
    ]
