"""Explain: a comparison -> every cause that fits, each with the numbers behind it.

A cause is a small class with `applies` and `explain`, listed in `causes`. What causes share is
computed once, in a function marked `shared`.
"""

from pipeline.audit.verify.explain.causes import explain

__all__ = ["explain"]
