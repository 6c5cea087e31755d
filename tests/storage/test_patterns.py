"""Braces are expanded, and globs match as they do in a folder."""

import pytest

from pipeline.core.errors import ConfigError, InputError
from pipeline.storage.patterns import expand_addresses, expand_braces, match_paths


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("h/{0000..0002}.gz", ["h/0000.gz", "h/0001.gz", "h/0002.gz"]),
        ("h/{9..11}", ["h/9", "h/10", "h/11"]),
        ("h/{08..11}", ["h/08", "h/09", "h/10", "h/11"]),
        ("h/{a,b-}x", ["h/ax", "h/b-x"]),
        ("{a,b}{0..1}", ["a0", "a1", "b0", "b1"]),
        ("h/x", ["h/x"]),
        ("h/{a,}", ["h/a", "h/"]),
    ],
)
def test_braces_are_spelled_out(pattern: str, expected: list[str]) -> None:
    assert expand_braces(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("h/{a", "expected each brace to be closed"),
        ("h/a}", "expected each brace to be closed"),
        ("h/{a,{b,c}}", "expected each brace to be closed, and none within another"),
        ("h/{a}", "expected a range or a choice"),
        ("h/{}", "expected a range or a choice"),
        ("h/{2..1}", "expected a range that rises"),
        ("h/{0..999}{0..1000}", "which are 1,001,000 addresses, expected at most 1,000,000"),
    ],
)
def test_braces_of_another_form_are_refused(pattern: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        expand_braces(pattern)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.x", "b-[1].y"]),
        ("**", ["a.x", "b-[1].y", "d/a.x", "d/e/c.x"]),
        ("**/*.x", ["a.x", "d/a.x", "d/e/c.x"]),
        ("d/**", ["d/a.x", "d/e/c.x"]),
        ("*/a.x", ["d/a.x"]),
        ("./a.x", ["a.x"]),
        ("[!b].x", ["a.x"]),
        ("d[!b]a.x", None),
        ("[a-b]?*", ["a.x", "b-[1].y"]),
        ("b-[[]1].y", ["b-[1].y"]),
        ("a?x", ["a.x"]),
        ("d?a.x", None),
        ("d*", None),
        ("A.x", None),
        (".*", [".h.x"]),
        ("**/.i.x", ["d/.i.x"]),
        (".g/*", [".g/a.x"]),
        ("[z-a]", None),
    ],
)
def test_globs_match_as_they_do_in_a_folder(pattern: str, expected: list[str] | None) -> None:
    paths = ["d/e/c.x", "b-[1].y", "a.x", "d/a.x", ".h.x", ".g/a.x", "d/.i.x"]
    if expected is None:
        with pytest.raises(InputError, match=r'^files: "'):
            match_paths("files", [pattern], paths)
    else:
        assert match_paths("files", [pattern], paths) == expected
        assert match_paths("files", [pattern, pattern], reversed(paths)) == expected


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("{a,b}.x", "list the patterns"),
        ("~/a.x", "write the folder out"),
        ("a[1].x", "write [[] where"),
        ("b.x", "check the spelling; there is a.x"),
    ],
)
def test_a_pattern_that_matches_nothing_is_explained(pattern: str, hint: str) -> None:
    with pytest.raises(InputError, match="matches none of 1 files") as raised:
        match_paths("files", [pattern], ["a.x"])
    assert hint in str(raised.value.hint)


def test_addresses_that_differ_in_secrets_alone_are_refused() -> None:
    assert expand_addresses(["http://h/b?x=1", "http://u:pw@h/a"]) == {
        "http://h/a": "http://u:pw@h/a",
        "http://h/b?x=1": "http://h/b?x=1",
    }
    for pair in (["http://h/a?token=1", "http://h/a?token=2"], ["http://u:{1,2}@h/a"]):
        with pytest.raises(ConfigError, match=r"got http://h/a more than once") as raised:
            expand_addresses(pair)
        assert "token" not in str(raised.value)
