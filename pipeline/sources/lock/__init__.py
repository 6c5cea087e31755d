"""The lock: what the origins of a mixture had, once, so that a build can insist on it.

Enters: a mixture. Leaves: a `Lock` and its file; what differs from one; where a pulled file lies,
and whether it has the locked bytes.
"""
