"""Stages: texts of documents -> rows of token ids.

Each folder is one stage: `filters` and `dedup` choose documents, `tokenizer` encodes them,
`chunking` cuts them, `sampling` meets the token budgets. `holdout` chooses documents for
validation, `text_digest` defines equal texts. Stages import only the last and the tokenizer.
"""

__all__ = ["chunking", "dedup", "filters", "holdout", "sampling", "text_digest", "tokenizer"]
