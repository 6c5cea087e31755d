"""Functions and classes of a mixture's own: their verdicts, and what they do wrong."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.filters import GOOD, PLAIN, ask, declared, document, made
from support.own_filters import allowed, own, write
from support.strategies import QUICK

from pipeline.core.errors import ConfigError
from pipeline.stages.filters.chain import make_filters
from pipeline.stages.filters.verdict import Dropped


def fault(folder: Path, source: str, **fields: object) -> str:
    """Return what is wrong with a document that a function cannot judge."""
    _, [dropped] = own(folder, source).judge([document("a text", **fields)])
    assert dropped.reason == "python:keep/failed"
    assert dropped.fault is not None
    return dropped.fault


def test_a_function_keeps_drops_and_names_a_reason(tmp_path: Path) -> None:
    filters = own(
        tmp_path,
        """
        import numpy as np

        def keep(text, metadata):
            if text == "short":
                return "too_short"
            return np.float64(metadata["score"]) > 0.5
        """,
    )
    assert ask(filters, "text", score=1) == (None, "text")
    assert ask(filters, "text", score=0) == ("python:keep/dropped", "text")
    assert ask(filters, "short", score=1) == ("python:keep/too_short", "short")


def test_a_function_gets_id_fields_and_arguments(tmp_path: Path) -> None:
    filters = own(
        tmp_path,
        """
        def keep(text, metadata, *, words, least=0.25):
            assert (words, least) == (["a"], 0.5), (words, least)
            assert dict(metadata) == {"id": "id-0", "url": "u", "deep": {"x": [1]}}, metadata
            return True
        """,
        "[{python: {function: './own.py:keep', arguments: {words: [a], least: 0.5}}}]",
    )
    assert ask(filters, "text", url="u", deep={"x": [1]}) == (None, "text")


def test_a_function_returns_another_text(tmp_path: Path) -> None:
    filters = own(
        tmp_path,
        """
        def edit(text, metadata):
            return text != "drop" and text.replace("ad ", "")
        """,
        "[{python: {function: './own.py:edit', returns: text}}, length: {min_chars: 3}]",
    )
    assert ask(filters, "ad words") == (None, "words")
    assert ask(filters, "same") == (None, "same")
    assert ask(filters, "ad ") == ("python:edit/emptied", "ad ")
    assert ask(filters, "drop") == ("python:edit/dropped", "drop")
    assert ask(filters, "ad no") == ("length/too_short", "no")


WRONG = [
    ("return metadata['url'] > 3", "./own.py:keep: KeyError: 'url' (own.py, line 2)"),
    ("raise ZeroDivisionError", "ZeroDivisionError (own.py, line 2)"),
    ("raise SystemExit(3)", "SystemExit: 3 (own.py, line 2)"),
    ("class Odd(Exception):\n  def __str__(self): raise self\n raise Odd", "keep: Odd (own.py, "),
    ("raise ValueError('a\\nb' * 999)", "ValueError: a ba ba b"),
    ("raise BaseException('panic')", "BaseException: panic (own.py, line 2)"),
    ("return keep(text, metadata)", "RecursionError"),
    ("return None", "TypeError: returned NoneType None, expected True, False or a reason of at"),
    ("pass", "returned NoneType None"),
    ("return 1", "returned int 1"),
    ("return ''", "returned str '', expected"),
    ("return 'Too short!'", "returned str 'Too short!', expected"),
    ("return 'x' * 65", "returned str 'xxxx"),
    ("return 'failed'", "returned str 'failed'"),
    ("return 'a/b'", "returned str 'a/b'"),
    ("yield True", "returned generator"),
    (
        "metadata['x'] = 1",
        "'mappingproxy' object does not support item assignment (own.py, line 2)",
    ),
]


@pytest.mark.parametrize(("body", "expected"), WRONG)
def test_what_a_function_does_wrong_is_a_bad_document(
    body: str, expected: str, tmp_path: Path
) -> None:
    found = fault(tmp_path, f"def keep(text, metadata):\n {body}\n")
    assert expected in found
    assert found.startswith("cannot be judged by ./own.py:keep: ")
    assert "\n" not in found
    assert len(found) < 400


@pytest.mark.parametrize("returned", ["None", "True", "b'x'", r"'\ud800'"])
def test_what_is_no_text_is_a_bad_document(returned: str, tmp_path: Path) -> None:
    source = f"def edit(text, metadata):\n return {returned}\n"
    filters = own(tmp_path, source, "[{python: {function: './own.py:edit', returns: text}}]")
    assert ask(filters, "text")[0] == "python:edit/failed"


@QUICK
@given(reason=st.one_of(st.text(max_size=70), st.from_regex(r"\A[a-z0-9_.-]{1,66}\Z")))
def test_a_reason_is_one_plain_word_or_a_failure(
    reason: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "reasons"
    filters = own(folder, "def keep(text, metadata):\n return metadata['reason']\n")
    is_plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", reason, re.ASCII)
    expected = reason if is_plain and reason not in ("failed", "emptied") else "failed"
    assert ask(filters, "text", reason=reason)[0] == f"python:keep/{expected}"


def test_an_interrupt_stays_one(tmp_path: Path) -> None:
    filters = own(tmp_path, "def keep(text, metadata):\n raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        ask(filters, "text")


def test_what_a_function_changes_no_later_filter_sees(tmp_path: Path) -> None:
    filters = own(
        tmp_path,
        """
        def keep(text, metadata):
            metadata["deep"]["x"].append(2)
            return True
        """,
        "[python: './own.py:keep', python: './own.py:keep']",
    )
    one = document("text", deep={"x": [1]})
    assert filters.judge([one]) == ([one], [])
    assert one.metadata == {"deep": {"x": [1]}}


def test_prints_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filters = own(
        tmp_path, "print('loaded')\ndef keep(text, metadata):\n print(text)\n return True"
    )
    ask(filters, "judged")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "loaded\njudged\n" in captured.err


@pytest.mark.parametrize(
    "body",
    [
        "calls.append(1)\n return len(calls) % 2 == 0",
        "return text not in calls and not calls.append(text)",
    ],
    ids=["counter", "seen before"],
)
def test_verdicts_that_depend_on_more_than_the_document_are_refused(
    body: str, tmp_path: Path
) -> None:
    filters = own(tmp_path, f"calls = []\ndef keep(text, metadata):\n {body}\n")
    with pytest.raises(ConfigError, match='got two verdicts on one document, "id-0"') as caught:
        filters.judge([document("text")])
    assert "no counter, clock or random number" in (caught.value.hint or "")


def test_an_error_with_an_address_in_it_is_the_same_verdict(tmp_path: Path) -> None:
    source = """
        made = []

        def keep(text, metadata):
            made.append(object())
            raise ValueError(made[-1])
        """
    assert "object at 0x" in fault(tmp_path, source)


def test_code_does_not_run_unless_it_is_allowed(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    write(tmp_path, f"open({str(marker)!r}, 'w')\ndef keep(text, metadata):\n return True\n")
    for filters, named in (
        ("[python: './own.py:keep']", "python ./own.py:keep"),
        ("[length, python: './../x.py:keep']", "python ./../x.py:keep"),
        ("[python: '/tmp/x.py:keep']", "python /tmp/x.py:keep"),
        ("[python: 'os:system']", "python os:system"),
        ("[datatrove: './own.py:keep']", "datatrove ./own.py:keep"),
        ("[datatrove: GopherQualityFilter]", "datatrove GopherQualityFilter"),
    ):
        with pytest.raises(ConfigError) as caught:
            make_filters(declared(filters), tmp_path)
        expected = f"filters: {named}: got code that the mixture names, which runs only with"
        assert caught.value.message == f"{expected} --allow-code"
        assert "--allow-code" in (caught.value.hint or "")
    assert not marker.exists()


def test_a_class_of_datatrove_judges_as_the_filter_of_its_name(tmp_path: Path) -> None:
    theirs = allowed(tmp_path, "[{datatrove: {filter: GopherQualityFilter, options: "
                               "{min_doc_words: 5, min_stop_words: null}}}]")  # fmt: skip
    ours = made("[gopher_quality: {min_doc_words: 5, min_stop_words: null}]")
    for text in (GOOD, PLAIN, "two words", "# " * 50):
        reason, left = ask(ours, text)
        mapped = reason and reason.replace(
            "gopher_quality/", "datatrove:GopherQualityFilter/gopher_"
        )
        assert ask(theirs, text) == (mapped, left)


def test_a_formatter_of_datatrove_changes_texts(tmp_path: Path) -> None:
    filters = allowed(tmp_path, "[datatrove: SymbolLinesFormatter]")
    text = "first\n♦\nlast"
    filters = allowed(
        tmp_path,
        "[{datatrove: {filter: SymbolLinesFormatter, options: {symbols_to_remove: ['♦']}}}]",
    )
    assert ask(filters, text) == (None, "first\nlast")


THEIRS = """
from datatrove.pipeline.filters.base_filter import BaseFilter

class Short(BaseFilter):
    name = "short"

    def __init__(self, most=3, **options):
        super().__init__()
        self.most = most

    def filter(self, doc):
        assert doc.metadata.get("url") == "u", doc.metadata
        doc.text = doc.text.strip()
        return (True, None) if len(doc.text) <= self.most else (False, "long")

class Whole(Short):
    def run(self, data, rank=0, world_size=1):
        yield from data
"""


def test_a_class_of_ones_own_extends_datatrove(tmp_path: Path) -> None:
    filters = "[{datatrove: {filter: './own.py:Short', options: {most: 4}}}]"
    chain = own(tmp_path, THEIRS, filters)
    assert ask(chain, " four ", metadata={"url": "u"}) == (None, "four")
    assert ask(chain, "longer", url="u") == ("datatrove:Short/long", "longer")
    _, [dropped] = chain.judge([document("text")])
    assert isinstance(dropped, Dropped)
    assert (dropped.fault or "").endswith("AssertionError: {} (own.py, line 12)")


REFUSED = [
    ("SamplerFilter", "got a class that does not judge each document by itself"),
    ("'./own.py:Whole'", "got a class that does not judge each document by itself"),
    ("LambdaFilter", "missing a required argument: 'filter_function'"),
    ("NoSuchFilter", "NoSuchFilter: got no such class, expected a filter or formatter of data"),
    ("'datatrove.pipeline.dedup:MinhashDedupFilter'", "got another thing, expected a filter or"),
    ("'./own.py:BaseFilter'", "cannot be made: TypeError: Can't instantiate abstract class"),
    ("{filter: FTFYFormatter, options: {a: 1}}", "got an unexpected keyword argument 'a'"),
    ("{filter: './own.py:Short', options: {exclusion_writer: x}}", "exclusion_writer, which is"),
    ("{filter: './own.py:Short', options: {batch_size: 2}}", "got the option batch_size, which"),
    ("{filter: RegexFilter, options: {regex_exp: '('}}", "cannot be made: error: missing ), un"),
]


@pytest.mark.parametrize(("written", "complaint"), REFUSED)
def test_what_cannot_judge_one_document_is_refused(
    written: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        own(tmp_path, THEIRS, f"[datatrove: {written}]")
