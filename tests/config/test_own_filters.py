"""What a mixture may say of its own filters: in short and in full, and nothing that allows them."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]
from support.filters import declared, mixture

from pipeline.config.filters import FILTERS, Filter
from pipeline.config.load import load_mixture
from pipeline.config.own_filters import Datatrove, Python
from pipeline.config.settings import to_plain
from pipeline.core.digest import fingerprint
from pipeline.core.errors import ConfigError

SCHEMA = Draft202012Validator(FILTERS.json_schema())


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("python: my.pack.age:keep", "python: {function: my.pack.age:keep}"),
        ("python: './a b/c.py:keep'", "python: {function: './a b/c.py:keep', arguments: {}}"),
        ("datatrove: FTFYFormatter", "datatrove: {filter: FTFYFormatter, options: {}}"),
        ("datatrove: my.module:Class", "datatrove: {filter: my.module:Class}"),
    ],
)
def test_a_text_stands_for_the_function_or_class_alone(short: str, whole: str) -> None:
    assert declared(f"[{short}]") == declared(f"[{{{whole}}}]")


def test_arguments_have_one_spelling_and_their_own_types() -> None:
    values = "{b: [1, -2.5, null], a: {y: 'no', x: true}, c: 007x}"
    turned = "{c: '007x', a: {x: true, y: 'no'}, b: [1, -2.50, ~]}"
    [one], [other] = (
        declared(f"[{{python: {{function: 'm:f', arguments: {written}}}}}]")
        for written in (values, turned)
    )
    assert one == other
    assert json.loads(one.options.arguments) == {
        "a": {"x": True, "y": "no"},
        "b": [1, -2.5, None],
        "c": "007x",
    }
    assert fingerprint(to_plain(one)) == fingerprint(to_plain(other))
    [text] = declared("[{python: {function: 'm:f', arguments: {b: '1'}}}]")
    [number] = declared("[{python: {function: 'm:f', arguments: {b: 1}}}]")
    assert fingerprint(to_plain(text)) != fingerprint(to_plain(number))


def test_a_filter_says_whether_it_is_code_and_whether_it_may_change_texts() -> None:
    filters = declared(
        "[pii, length, python: 'm:keep', {python: {function: 'm:edit', returns: text}},"
        " datatrove: GopherQualityFilter]"
    )
    assert [one.is_code for one in filters] == [False, False, True, True, True]
    assert [one.may_rewrite for one in filters] == [True, False, False, True, True]
    assert [one.label for one in filters[1:]] == [
        *("length", "python:keep", "python:edit", "datatrove:GopherQualityFilter"),
    ]


FUNCTION = "expected module:function of an installed package, or a file relative to this one"
BAD = [
    ("python", f"python.function: got nothing, {FUNCTION}"),
    ("python: os", f'python.function: got "os", {FUNCTION}'),
    ("python: 'os:system; x'", FUNCTION),
    ("python: 'a-b:f'", FUNCTION),
    ("python: 'a..b:f'", FUNCTION),
    ("python: '.a:f'", FUNCTION),
    ("python: 'ä:f'", FUNCTION),
    ("python: 'm:f.g'", FUNCTION),
    ("python: 'm.py:lambda x'", FUNCTION),
    (r'python: "a\u202eb:f"', FUNCTION),
    ("python: ['m:f']", "python: got a list, expected a mapping with function"),
    ("{python: {function: 'm:f', allow_code: true}}", "got an unknown key, expected one of argu"),
    ("{python: {function: 'm:f', arguments: [1]}}", "got a list, expected a mapping from names"),
    ("{python: {function: 'm:f', arguments: {a: .inf}}}", "got .inf, expected text, a number"),
    ("{python: {function: 'm:f', arguments: {a: 1e5}}}", "which YAML 1.1 and YAML 1.2 read diff"),
    ("{python: {function: 'm:f', returns: texts}}", 'one of verdict, text; did you mean "text"?'),
    ("{python: {function: 'm:f', packages: ['a b']}}", "expected the name of an installed package"),
    ("datatrove: 'a b'", "expected a class of datatrove such as GopherQualityFilter, or module"),
]


@pytest.mark.parametrize(("written", "complaint"), BAD)
def test_what_is_no_name_of_code_is_refused_where_it_stands(written: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)) as caught:
        declared(f"[{written}]")
    assert caught.value.message.startswith("m.yaml:3:")


def test_values_without_end_are_refused_before_memory_ends() -> None:
    bomb = "a: &a0 [1, 1]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(60))
    lines = "\n".join(f"          {line}" for line in bomb.splitlines())
    text = (
        "name: made\nchunk: {size: 64}\nsources:\n  web:\n    from: {path: a.jsonl}\n"
        f"    filters:\n    - python:\n        function: m:f\n        arguments:\n{lines}\n"
        "order: {seed: 1, global_batch_size: 1, max_seq_len: 64}\n"
    )
    with pytest.raises(ConfigError, match="got more than 10,000 values, expected fewer"):
        load_mixture(Path("m.yaml"), text=text.encode())


def test_neither_mixture_nor_override_can_allow_code() -> None:
    text = mixture("[python: 'm:f']").encode()
    for key in ("allow_code", "allows_code", "sources.web.allow_code"):
        with pytest.raises(ConfigError, match="got an unknown key"):
            load_mixture(Path("m.yaml"), [f"{key}=true"], text=text)


def test_the_schema_accepts_what_loading_does() -> None:
    for good in (
        {"python": "m:f"},
        {"python": {"function": "./m.py:f", "arguments": {"a": [1, {"b": None}]}}},
        {"datatrove": "FTFYFormatter"},
        {"datatrove": {"filter": "m:C", "options": {"a": 0.5}, "files": ["x"]}},
    ):
        assert SCHEMA.is_valid([good]), good
    for bad in (
        {"python": "m"},
        {"python": {}},
        {"python": {"function": "m:f", "arguments": []}},
        {"python": {"function": "m:f", "extra": 1}},
        {"datatrove": {"filter": "a b"}},
    ):
        assert not SCHEMA.is_valid([bad]), bad


def test_one_built_in_python_is_the_one_of_the_file() -> None:
    made = Filter(name="python", options=Python(function="m:f", packages=("b", "a", "b")))
    assert (made,) == declared("[{python: {function: 'm:f', packages: [a, b]}}]")
    assert Datatrove(filter="m:C").module == "m"
    assert Datatrove(filter="C").module is None
