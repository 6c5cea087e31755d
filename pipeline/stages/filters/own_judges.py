"""The filters of a mixture's own: a function of Python, or a class that extends datatrove's.

What such code raises or returns by mistake is a bad document, as with any filter. It sees copies,
so that it cannot change what later filters see.
"""

import copy
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from pipeline.config import Datatrove, Python
from pipeline.core.document import Document
from pipeline.core.errors import ConfigError
from pipeline.stages.filters.own_code import described, find_code, line_of, load
from pipeline.stages.filters.verdict import Drop, Judge

# So many documents are judged twice in each process, to notice verdicts that depend on more.
_JUDGED_TWICE: Final = 16
_REASON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TAKEN: Final = frozenset({"failed", "emptied"})
_EXPECTED: Final = "True, False or a reason of at most 64 letters, digits, _ . -"
_DROPPED: Final = Drop("dropped")


def judge_python(options: Python, folder: Path) -> Judge:
    """Return the filter by a function of text and metadata.

    Metadata are the fields of the record, and `id`, the document's. Raises: ConfigError.
    """
    code = find_code(options, folder)
    assert code is not None
    function, arguments = load(code, options.name), json.loads(options.arguments or "{}")
    _check_call(f"filters: {options.function}", function, ("", {}), arguments)
    read = _as_text if options.returns == "text" else _as_verdict

    def ask(document: Document) -> Document | Drop:
        fields = MappingProxyType({**_copied(document.metadata), "id": document.id})
        return read(document, function(document.text, fields, **arguments))

    return _guarded(options.function, code.path, ask)


def judge_datatrove(options: Datatrove, folder: Path) -> Judge:
    """Return the filter by a class of datatrove, or one that extends it. Raises: ConfigError."""
    from datatrove import data
    from datatrove.pipeline import filters, formatters
    from datatrove.pipeline.filters.base_filter import BaseFilter
    from datatrove.pipeline.formatters.base import BaseFormatter

    code, where = find_code(options, folder), f"filters: {options.filter}"
    found: Any = (
        load(code, options.name)
        if code is not None
        else getattr(filters, options.name, None) or getattr(formatters, options.name, None)
    )
    if not (isinstance(found, type) and issubclass(found, BaseFilter | BaseFormatter)):
        got = "no such class" if found is None else "another thing"
        raise ConfigError(f"{where}: got {got}, expected a filter or formatter of datatrove")
    made: Any = found
    if found is filters.SamplerFilter or made.run not in (BaseFilter.run, BaseFormatter.run):
        raise ConfigError(
            f"{where}: got a class that does not judge each document by itself",
            "a budget in tokens samples a source" if found is filters.SamplerFilter else None,
        )
    step = _make(where, found, json.loads(options.options or "{}"))

    def ask(document: Document) -> Document | Drop:
        if isinstance(step, BaseFormatter):
            return _as_text(document, step.format(document.text))
        # As datatrove's readers do, what is in a field `metadata` is beside the other fields.
        fields = _copied(document.metadata)
        inner = fields.pop("metadata", {})
        metadata = {**inner, **fields} if isinstance(inner, dict) else fields
        shown = data.Document(text=document.text, id=document.id, metadata=metadata)
        [verdict] = step.filter_batch([shown])
        passes, reason = verdict if isinstance(verdict, tuple) else (verdict, None)
        if passes:
            return _as_text(document, shown.text)
        return _as_verdict(document, reason or False)

    return _guarded(options.filter, folder if code is None else code.path, ask)


def _make(where: str, found: type[Any], options: Mapping[str, Any]) -> Any:
    """Make a filter of datatrove. Raises: ConfigError for options that it has not."""
    for name in ("exclusion_writer", "batch_size"):
        if name in options:
            raise ConfigError(
                f"{where}: got the option {name}, which is for datatrove's own runs",
                "leave it out; keep_dropped keeps what is dropped",
            )
    _check_call(where, found, (), options)
    try:
        with redirect_stdout(sys.stderr):
            return found(**options)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise ConfigError(f"{where}: cannot be made: {described(error)}") from error


def _check_call(
    where: str, called: Callable[..., Any], given: tuple[Any, ...], arguments: Mapping[str, Any]
) -> None:
    """Insist that something can be called with these arguments. Raises: ConfigError."""
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        return  # Of what is written in C there may be none.
    try:
        signature.bind(*given, **arguments)
    except TypeError as error:
        shown = ", ".join([*("text", "metadata")[: len(given)], *arguments])
        raise ConfigError(
            f"{where}{signature}: cannot be called with ({shown}): {error}"
        ) from error


def _copied(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: copy.deepcopy(value) if isinstance(value, dict | list) else value
        for name, value in fields.items()
    }


def _as_verdict(document: Document, returned: Any) -> Document | Drop:
    """Return the verdict that a function returned. Raises: TypeError for anything else."""
    if isinstance(returned, bool | np.bool_):
        return document if returned else _DROPPED
    if isinstance(returned, str) and _REASON.fullmatch(returned) and returned not in _TAKEN:
        return Drop(str(returned))
    raise TypeError(f"returned {_shown(returned)}, expected {_EXPECTED}")


def _as_text(document: Document, returned: Any) -> Document | Drop:
    """Return the document with the text that a function returned. Raises: TypeError."""
    if returned is False:
        return _DROPPED
    if not isinstance(returned, str):
        raise TypeError(f"returned {_shown(returned)}, expected the text, or False to drop it")
    returned.encode()
    return document if returned == document.text else replace(document, text=str(returned))


def _shown(value: Any) -> str:
    try:
        return f"{type(value).__name__} {' '.join(repr(value).split())[:60]}"
    except Exception:
        return type(value).__name__


def _are_same(one: Document | Drop, other: Document | Drop) -> bool:
    if isinstance(one, Drop) and isinstance(other, Drop):
        return one.reason == other.reason  # An exception may name an address in memory.
    return one == other


def _guarded(named: str, path: Path, ask: Judge) -> Judge:
    """Return a filter for which every exception is a bad document, and whose prints go to stderr.

    The first documents of a process are judged twice. Raises: ConfigError where verdicts differ.
    """
    left = _JUDGED_TWICE

    def judge_once(document: Document) -> Document | Drop:
        try:
            with redirect_stdout(sys.stderr):
                return ask(document)
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:
            why = f"cannot be judged by {named}: {described(error)}{line_of(error, path)}"
            return Drop("failed", why)

    def judge(document: Document) -> Document | Drop:
        nonlocal left
        verdict = judge_once(document)
        if left:
            left -= 1
            if not _are_same(judge_once(document), verdict):
                raise ConfigError(
                    f"filters: {named}: got two verdicts on one document,"
                    f" {json.dumps(document.id)}, expected the same whenever it is asked",
                    "let it depend on text and metadata alone: on no counter, clock or random"
                    " number",
                )
        return verdict

    return judge
