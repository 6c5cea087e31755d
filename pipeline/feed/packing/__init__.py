"""Packing: sequences in order -> bins of one length, several sequences in each.

Enters: the lengths of the rows of an order. Leaves: which row goes into which bin and in which
order (`Packed`), from which bins of ids are filled and, for `greedy-best-fit-v1`, masked. Plans are
functions of lengths alone. Inside this room a row of the order is called a sequence, and the packed
row that a model sees a bin.

Both rules are written down in `docs/spec/packing.md`.
"""
