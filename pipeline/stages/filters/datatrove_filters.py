"""The filters of `datatrove` that judge by the text alone: quality rules, language, PII masks.

They run unchanged, on each document in datatrove's own class.
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

# spaCy splits these with dictionaries from other packages, which nothing here would pin.
_NEED_MORE = frozenset({"ja", "vi", "zh"})


def judge_quality(options: GopherQuality | GopherRepetition | C4Quality | FineWebQuality) -> Judge:
    """Return a filter by rules on words, lines and sentences."""
    from datatrove.data import Document as TheirDocument
    from datatrove.pipeline import filters

    theirs = {
        GopherQuality: filters.GopherQualityFilter,
        GopherRepetition: filters.GopherRepetitionFilter,
        C4Quality: filters.C4QualityFilter,
        FineWebQuality: filters.FineWebQualityFilter,
    }
    judge_theirs = theirs[type(options)](**arguments(options)).filter

    def judge(document: Document) -> Document | Drop:
        shown = TheirDocument(text=document.text, id=document.id)
        verdict = judge_theirs(shown)
        if verdict is not True:
            return Drop(verdict[1].removeprefix("gopher_"))
        return with_text(document, shown.text)

    return judge


def judge_language(options: Language, folder: Path) -> Judge:
    """Return the filter by a language's score.

    datatrove itself would fetch the model from the network on the first document; here the mixture
    names the file. Raises: ConfigError for a file that is no fastText model.
    """
    from datatrove.data import Document as TheirDocument
    from datatrove.pipeline.filters import LanguageFilter
    from fasttext.FastText import _FastText

    given = arguments(options)
    path = folder / given.pop("model")
    theirs = LanguageFilter(**given)
    try:
        # Where datatrove keeps a model once it is loaded.
        theirs.model._model = _FastText(str(path))
    except ValueError as error:
        raise ConfigError(
            f"filters: language.model: {path}: got {error}, expected a fastText model"
        ) from error

    def judge(document: Document) -> Document | Drop:
        passes = theirs.filter(TheirDocument(text=document.text, id=document.id))
        return document if passes else Drop("below_threshold")

    return judge


def judge_pii(options: Pii) -> Judge:
    """Return the formatter that masks e-mail and IP addresses."""
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter(**arguments(options))

    def judge(document: Document) -> Document:
        # Theirs go on with the replacements where the last document ended, whichever it was.
        formatter.emails_replacer._replace_i = formatter.ip_replacer._replace_i = 0
        return with_text(document, formatter.format(document.text))

    return judge


def arguments(options: Any) -> dict[str, Any]:
    """Return options as the keyword arguments of `datatrove`, which takes floats."""
    names = [field.name for field in dataclasses.fields(options)]
    return {name: _inexact(getattr(options, name)) for name in names}


def check_language(name: str, language: str) -> None:
    """Refuse a language that spaCy alone cannot split.

    For the others datatrove has Stanza and its like, some of which fetch data as they run.
    Raises: ConfigError.
    """
    from datatrove.utils.word_tokenizers import SpaCyTokenizer, load_word_tokenizer

    try:
        tokenizer = load_word_tokenizer(language)
    except (ValueError, ImportError):
        tokenizer = None
    if not isinstance(tokenizer, SpaCyTokenizer) or tokenizer.language in _NEED_MORE:
        raise ConfigError(
            f'filters: {name}.language: got "{language}", expected a code of a language that spaCy '
            "splits without further data, such as eng, deu or fra"
        )


def with_text(document: Document, text: str) -> Document:
    """Return the document with another text, or itself if it has that already."""
    return document if text == document.text else dataclasses.replace(document, text=text)


def _inexact(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_inexact(item) for item in value)
    return float(value) if isinstance(value, Fraction) else value
