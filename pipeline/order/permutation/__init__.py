"""Orders: one global sequence of a phase's samples, from a named algorithm.

Enters: the number of samples, a seed and an epoch. Leaves: which sample is at a position, and at
which position a sample is. Nothing here knows of ranks or steps, so world size never touches it.

The algorithms are frozen, and written down in `docs/spec/orders.md`.
"""
