"""YAML is read without guessing, and its problems are listed together."""

from pathlib import Path

import pytest
from support.mixtures import DIFFER, NAME, ORDER_KEYS, TOP_KEYS, changed, problems, read

from pipeline.config.load import load_mixture
from pipeline.core.errors import ConfigError

# What YAML would guess.


@pytest.mark.parametrize(
    "word",
    ["no", "Yes", "on", "1_000", "1e6", "12:30:45", "017", "0x1F", "0o17", "2024-01-01", "="],
)
def test_a_scalar_that_yaml_versions_read_differently_is_refused_as_text(word: str) -> None:
    assert problems(changed("name: ettin", f"name: {word}")) == [
        f"a.yaml:2:7: name: got {word}, {DIFFER}, expected {NAME}; put it in quotes if it is text"
    ]


@pytest.mark.parametrize(
    ("word", "hint"),
    [("1_024", "; did you mean 1024?"), ("1e3", ""), ("17:04", ""), ("02000", "")],
)
def test_a_scalar_that_yaml_versions_read_differently_is_refused_as_a_number(
    word: str, hint: str
) -> None:
    assert problems(changed("size: 1024", f"size: {word}")) == [
        f"a.yaml:10:9: chunk.size: got {word}, {DIFFER}, expected an integer from 4 to "
        f"1,000,000{hint}"
    ]


def test_yes_is_not_true() -> None:
    assert problems(changed("add_eos: false", "add_eos: yes")) == [
        f"a.yaml:13:12: chunk.add_eos: got yes, {DIFFER}, expected true or false"
    ]


def test_in_quotes_every_word_is_text() -> None:
    assert read(changed("name: ettin", 'name: "no"')).name == "no"
    assert read(changed("name: ettin", "name: '2024-01-01'")).name == "2024-01-01"


def test_a_commit_that_looks_like_a_number_needs_quotes() -> None:
    commit = "1234567890123456789012345678901234567e10"
    text = changed("name: modernbert", f"name: org/name\n  revision: {commit}")
    assert problems(text) == [
        f"a.yaml:7:13: tokenizer.revision: got {commit}, {DIFFER}, expected a commit of 40 hex "
        "characters; put it in quotes if it is text"
    ]
    assert read(text.replace(commit, f'"{commit}"')).tokenizer.revision == commit


@pytest.mark.parametrize("word", ["no", "7", "null"])
def test_a_key_that_is_not_text_is_refused(word: str) -> None:
    shown = f"no, {DIFFER}" if word == "no" else word
    assert problems(changed("  peps:", f"  {word}:")) == [
        f"a.yaml:16:3: sources: got the key {shown}, expected text as a key, in quotes"
    ]
    assert read(changed("  peps:", f'  "{word}":')).sources[-1].name in ("books", word)


def test_a_key_given_twice_is_refused() -> None:
    assert problems(changed("  seed: 42", "  seed: 42\n  seed: 42")) == [
        "a.yaml:15:3: chunk.seed: got a key that is already on line 14, expected it once"
    ]


@pytest.mark.parametrize(
    ("value", "tag"), [("!!str x", "!!str"), ("!mine x", "!mine"), ("! x", "!")]
)
def test_a_tag_is_refused(value: str, tag: str) -> None:
    assert problems(changed("phase: checkpoint", f"phase: {value}"))[0] == (
        f"a.yaml:4:8: got the tag {tag}, expected a value without a tag"
    )


def test_a_merge_key_is_refused() -> None:
    text = changed("from: {path: peps/*.json.gz}", "from: {path: a, <<: {id: b}}")
    assert problems(text) == [
        "a.yaml:18:21: sources.peps.from: got a merge key, expected the keys themselves"
    ]


# Files that are no mixtures.


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "1:1: got nothing, expected a mapping with chunk, name, order, sources"),
        (b"# a\n", "1:1: got nothing, expected a mapping with chunk, name, order, sources"),
        (b"null", "1:1: got null, expected a mapping with chunk, name, order, sources"),
        (b"\n- a", "2:1: got a list, expected a mapping with chunk, name, order, sources"),
        (b"a word", '1:1: got "a word", expected a mapping with chunk, name, order, sources'),
        (b"name: a\nx: \xff", "2:4: got the byte 0xff, expected text in UTF-8"),
        (b"name: a\n b: \x00", "2:5: got the character U+0000, expected printable text"),
        (
            b"name: a\nb: c: d",
            "2:5: got text that is not YAML (mapping values are not allowed here), expected YAML",
        ),
        (
            b"name: *a",
            "1:7: got text that is not YAML (found undefined alias 'a'), expected YAML",
        ),
        (
            b"a: 1\n---\nb: 2",
            "2:1: got text that is not YAML (expected a single document in the stream, but found "
            "another document), expected YAML",
        ),
        (b"[" * 3000 + b"]" * 3000, "1:1: got values nested too deeply, expected a mixture"),
        # At once: the reader's time grows with the square of the depth.
        (b"[" * 100_000, "1:1: got values nested too deeply, expected a mixture"),
        (b"? " * 100_000, "1:1: got values nested too deeply, expected a mixture"),
    ],
)
def test_what_is_no_mapping_is_one_clear_line(text: bytes, problem: str) -> None:
    assert problems(text) == [f"a.yaml:{problem}"]


def test_a_value_inside_itself_is_refused() -> None:
    text = changed("path: [a/*.json.gz, b/*.json.gz]", "path: &a [*a]")
    assert problems(text)[0] == (
        "a.yaml:23:13: sources.books.from.path[0]: got a value inside itself, expected no cycle"
    )


def test_half_a_surrogate_pair_is_refused() -> None:
    assert problems(changed("In a few words.", '"\\ud800"')) == [
        "a.yaml:3:14: description: got half of a surrogate pair, expected whole characters"
    ]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load_mixture(file)
    assert str(caught.value) == (
        f"{file}: got no file (No such file or directory), expected a mixture file"
    )


# Problems together.


def test_all_problems_are_listed_together_in_the_order_of_the_file() -> None:
    text = changed("size_limit: 100kB", "size_limit: 100 kB")
    text = changed("seed: 21", "sed: 21", text)
    text = changed("min_size: 512", "min_size: 1023", text)
    text = changed("add_eos: false", "add_eos: off", text)
    text = changed("name: ettin", "nam: ettin", text)
    assert problems(text, "order.veiw=decoder", "chunk.seed=x") == [
        f'a.yaml:2:1: nam: got an unknown key, expected one of {TOP_KEYS}; did you mean "name"?',
        f"a.yaml:2:1: name: got nothing, expected {NAME}",
        "a.yaml:11:13: chunk.min_size: got 1023, expected at most size - 2, here 1,022",
        f"a.yaml:13:12: chunk.add_eos: got off, {DIFFER}, expected true or false",
        "a.yaml:27:3: order.seed: got nothing, expected an integer from 0 to 4,294,967,295",
        f"a.yaml:28:3: order.sed: got an unknown key, expected one of {ORDER_KEYS}; "
        'did you mean "seed"?',
        'a.yaml:35:15: shards.size_limit: got "100 kB", expected a size in bytes such as 64MiB, '
        "100kB or 100000; did you mean 100kB?",
        f'--set order.veiw: got an unknown key, expected one of {ORDER_KEYS}; did you mean "view"?',
        '--set chunk.seed: got "x", expected an integer from 0 to 4,294,967,295',
    ]
