"""The filters of `datatrove` that judge by the text alone: quality rules, language, PII masks.

Source: datatrove 0.10.1, `pipeline/filters/` and `pipeline/formatters/pii.py`.
"""

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.config import (
    C4Quality,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Language,
    Pii,
)
from pipeline.core.document import Document
from pipeline.core.errors import ConfigError
from pipeline.stages.filters.verdict import Drop, Judge

# spaCy splits these with dictionaries from other packages, which nothing pins.
_NEED_MORE = frozenset({"ja", "vi", "zh"})


def judge_quality(
    options: GopherQuality | GopherRepetition | C4Quality | FineWebQuality, _folder: Path
) -> Judge:
    """Return a filter by rules on words, lines and sentences."""
    from datatrove import data
    from datatrove.pipeline import filters

    classes = {
        GopherQuality: filters.GopherQualityFilter,
        GopherRepetition: filters.GopherRepetitionFilter,
        C4Quality: filters.C4QualityFilter,
        FineWebQuality: filters.FineWebQualityFilter,
    }
    judge_text = classes[type(options)](**_arguments(options)).filter

    def judge(document: Document) -> Document | Drop:
        shown = data.Document(text=document.text, id=document.id)
        verdict = judge_text(shown)
        if verdict is not True:
            return Drop(verdict[1].removeprefix("gopher_"))
        return _with_text(document, shown.text)

    return judge


def judge_language(options: Language, folder: Path) -> Judge:
    """Return the filter by a language's score. Raises: ConfigError for a file that is no model."""
    from datatrove import data
    from datatrove.pipeline.filters import LanguageFilter
    from fasttext.FastText import _FastText

    arguments = _arguments(options)
    path = folder / arguments.pop("model")
    language_filter = LanguageFilter(**arguments)
    try:
        # Where datatrove keeps a loaded model; it would download one with the first document.
        language_filter.model._model = _FastText(str(path))
    except ValueError as error:
        raise ConfigError(
            f"filters: language.model: {path}: got {error}, expected a fastText model",
            guide="docs/guide/filters.md#language",
        ) from error

    def judge(document: Document) -> Document | Drop:
        passes = language_filter.filter(data.Document(text=document.text, id=document.id))
        return document if passes else Drop("below_threshold")

    return judge


def judge_pii(options: Pii, _folder: Path) -> Judge:
    """Return the formatter that masks e-mail and IP addresses."""
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter(**_arguments(options))

    def judge(document: Document) -> Document:
        # datatrove continues the replacements of the previous document, whichever that was.
        formatter.emails_replacer._replace_i = formatter.ip_replacer._replace_i = 0
        return _with_text(document, formatter.format(document.text))

    return judge


def _arguments(options: Any) -> dict[str, Any]:
    """Return options as keyword arguments of `datatrove`, which takes floats."""
    names = [field.name for field in dataclasses.fields(options)]
    return {name: _with_floats(getattr(options, name)) for name in names}


def check_language(name: str, language: str) -> None:
    """Raise ConfigError for a language that spaCy cannot split without further data."""
    from datatrove.utils.word_tokenizers import SpaCyTokenizer, load_word_tokenizer

    try:
        tokenizer = load_word_tokenizer(language)
    except (ValueError, ImportError):
        tokenizer = None
    if not isinstance(tokenizer, SpaCyTokenizer) or tokenizer.language in _NEED_MORE:
        raise ConfigError(
            f'filters: {name}.language: got "{language}", expected a code of a language that spaCy '
            "splits without further data, such as eng, deu or fra",
            guide="docs/guide/filters.md#options",
        )


def _with_text(document: Document, text: str) -> Document:
    return document if text == document.text else dataclasses.replace(document, text=text)


def _with_floats(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_with_floats(item) for item in value)
    return float(value) if isinstance(value, Fraction) else value
