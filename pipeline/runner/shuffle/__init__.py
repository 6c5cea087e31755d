"""Ordering: a pool of shards -> its rows in order, with provenance and ledger.

`stage` is the door. `table` says what is known of each row; `write` makes one file of the order,
from rows that `gather` reads from the pool, or that `scatter` laid out by position on disk and
`collect` brings together; `formats` are the forms of a file.
"""
