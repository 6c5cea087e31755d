"""Cards of data sets: which files a configuration and a split are."""

import pytest
from support.source_server import Server
from support.stores import CARD, HERE

from pipeline.config.source import Origin
from pipeline.core.errors import InputError
from pipeline.storage.hub_card import card_patterns
from pipeline.storage.open_store import open_store

# Of sixty lines, and 2 ** 60 words once it is spelled out.
BOMB = "\n".join(["a0: &a0 [x, y]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 61))])


@pytest.mark.parametrize(
    ("config", "split", "expected"),
    [
        ("books", None, ["data/books/a.json.gz", "data/books/b.json.gz"]),
        ("books", "train", ["data/books/a.json.gz", "data/books/b.json.gz"]),
        ("web", "test", ["data/web/test.jsonl.zst"]),
        ("web", "train", ["data/web/deep/er/x.jsonl", "data/web/part-00.jsonl.zst"]),
    ],
)
def test_a_split_of_a_card_is_its_files(
    server: Server, config: str, split: str | None, expected: list[str]
) -> None:
    origin = open_store(Origin(hub="org/set", config=config, split=split), HERE)
    assert [file.path for file in origin.list()] == expected


@pytest.mark.parametrize(
    ("card", "config", "split", "told"),
    [
        (CARD, "new", None, 'got configuration "new", expected one of books, web\n.*`config:`'),
        (CARD, None, "train", "got no configuration, expected one of books, web\n.*`config:`"),
        (CARD, "web", None, "got no split, expected one of train, test\n.*`split:`"),
        (CARD, "web", "dev", 'got split "dev", expected one of train, test\n.*`split:`'),
        ("# No front matter", None, "train", "got no configs, expected some .*\n.*`files:`"),
        ("---\nlicense: mit\n---\n", None, "train", "got no configs.*\n.*`files:`"),
        ("---\na: [\n---\n", None, "train", "broken front matter: .*\n.*`files:`"),
        (f"---\na: {'[' * 50_000}\n---\n", None, "train", "broken front matter: values are nested"),
        ("---\na: 2026-13-01\n---\n", None, "train", "broken front matter: month must be"),
        (f"---\na: {'9' * 5_000}\n---\n", None, "train", "broken front matter: Exceeds the limit"),
        (
            f"---\n{BOMB}\nconfigs: [{{config_name: *a60, data_files: x}}]\n---\n",
            None,
            None,
            "got malformed configs",
        ),
        (
            f"---\n{BOMB}\nconfigs: [{{config_name: a, data_files: [{{split: a, path: *a60}}]}}]"
            "\n---\n",
            None,
            None,
            "got malformed configs",
        ),
        (
            "---\nconfigs: [{config_name: a, data_dir: b}]\n---\n",
            "a",
            None,
            "got malformed configs",
        ),
        ("---\nconfigs: [7]\n---\n", "a", None, "got malformed configs.*\n.*`files:`"),
        ("---\nconfigs: 7\n---\n", "a", None, "got malformed configs.*\n.*`files:`"),
    ],
)
def test_what_a_card_does_not_say_is_told(
    card: str, config: str | None, split: str | None, told: str
) -> None:
    with pytest.raises(InputError, match=f"card: {told}"):
        card_patterns("card", card.encode(), config, split)


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ('[{config_name: a, data_files: "x/*"}]', ("x/*",)),
        ("[{config_name: a, data_files: [x, y]}]", ("x", "y")),
        (
            "[{config_name: a, data_files: x}, {config_name: b, data_files: y, default: true}]",
            ("y",),
        ),
        ("[{config_name: default, data_files: x}, {config_name: b, data_files: y}]", ("x",)),
        ("[{config_name: a, data_files: [{split: train, path: x}]}]", ("x",)),
        ("[{config_name: 1.5, data_files: x}]", ("x",)),
    ],
)
def test_the_default_configuration_of_a_card(configs: str, expected: tuple[str, ...]) -> None:
    for line in ("\n", "\r\n"):
        card = f"---\nconfigs: {configs}\n---\nText\n".replace("\n", line)
        assert card_patterns("card", card.encode(), None, "train") == expected


def test_a_data_set_without_a_card_is_told(server: Server) -> None:
    server.push("org/set", 2, "bare")
    origin = open_store(Origin(hub="org/set", revision="bare", split="train"), HERE)
    with pytest.raises(InputError, match=r"README\.md: got no such file(.*\n.*)`files:`"):
        origin.list()
