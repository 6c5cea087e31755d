"""Explain: a comparison -> every cause that fits, each with the numbers behind it.

A cause is a small class with `applies` and `explain`, listed in `causes`. What causes share, as
which pool row each row of the target is and which order fits, is computed once in a function marked
`shared` and kept on the comparison.
"""

from pipeline.audit.verify.explain.causes import explain

__all__ = ["explain"]
