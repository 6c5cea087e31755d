"""Stages: what becomes of a document. Texts enter, rows of token ids leave; no file is written.

Each folder is one stage with a door of its own: `filters` and `dedup` decide which documents stay,
`tokenizer` encodes them, `chunking` cuts them, `sampling` meets the token budgets. `holdout`
chooses documents for validation, `text_digest` says which texts count as one. No stage imports
another, but for the tokenizer and the text digests.
"""

__all__ = ["chunking", "dedup", "filters", "holdout", "sampling", "text_digest", "tokenizer"]
