"""The plain filters, which need nothing but Python: `length` and `regex`."""

import re

from pipeline.config import Length, Regex
from pipeline.core.document import Document
from pipeline.stages.filters.verdict import Drop, Judge


def judge_length(options: Length) -> Judge:
    """Return the filter of texts by their number of characters, as Unicode counts them."""
    least, most = options.min_chars, options.max_chars

    def judge(document: Document) -> Document | Drop:
        if len(document.text) < least:
            return Drop("too_short")
        if most is not None and len(document.text) > most:
            return Drop("too_long")
        return document

    return judge


def judge_regex(options: Regex) -> Judge:
    """Return the filter of texts by whether an expression is found anywhere in them."""
    search = re.compile(options.pattern).search
    drops_found, reason = options.drop_if == "found", options.drop_if

    def judge(document: Document) -> Document | Drop:
        return Drop(reason) if (search(document.text) is not None) == drops_found else document

    return judge
