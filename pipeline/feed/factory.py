"""Making a feed: what cannot be fed as requested is refused here, not after a day of training."""

from bisect import bisect
from math import isqrt
from numbers import Integral, Real
from typing import get_args

import numpy as np

from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.dataset import TOKENIZER, Order
from pipeline.feed.batch import Clm, Form, Mlm, Objective, OnDamage
from pipeline.feed.feed import Feed, view_of
from pipeline.feed.packing import PACKERS, Packing
from pipeline.order import Schedule
from pipeline.stages.tokenizer import (
    EMBEDDED,
    NO_TOKEN,
    SpecialIds,
    read_json,
    read_special_ids,
)

_NO_LIMIT = int(np.iinfo(np.int32).max)
# CLS, an id, SEP.
_SHORTEST = 3


def make_feed(
    order: Order,
    *,
    objective: Objective | None,
    micro_batch_rows: int,
    global_batch_rows: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    form: Form = "flat",
    packing: Packing | None = None,
    max_seq_len: int | None = None,
    special: SpecialIds | None = None,
    on_damage: OnDamage = "stop",
    pad_to_multiple: int = 1,
    digests: bool = False,
) -> Feed:
    """Return a feed at the first row of an order.

    global_batch_rows: rows of a step over all ranks, by default the order's; max_seq_len: the most
    ids of a row, by default the order's, or unlimited without an objective; packing: the algorithm
    that packs each micro-batch into bins of `max_seq_len` ids; special: by default those of the
    order's tokenizer, as `special_ids` finds it.

    Raises: ConfigError for arguments out of range, a world size that does not divide a step, an
    order written for another objective, an objective whose tokens the tokenizer lacks, an unknown
    length or batch size; InputError for an order of
    less than a step; MismatchError for an order of another tokenizer.
    """
    _check_layout(form, on_damage, packing, pad_to_multiple)
    _check_integers(rank=rank, world_size=world_size, micro_batch_rows=micro_batch_rows)
    _check_integers(pad_to_multiple=pad_to_multiple)
    _check_objective(order, objective)
    if not 0 <= rank < world_size:
        raise ConfigError(
            f"rank: got {rank} of world size {world_size}, expected one of 0 to world size - 1"
        )
    if micro_batch_rows < 1 or pad_to_multiple < 1:
        raise ConfigError(
            f"micro_batch_rows, pad_to_multiple: got {micro_batch_rows}, {pad_to_multiple},"
            " expected 1 or more"
        )
    if global_batch_rows is None:
        global_batch_rows = order.num_rows_per_step
    if global_batch_rows is None:
        raise ConfigError(
            f"{order.where}: batch size unknown", "give global_batch_rows (--global-batch)"
        )
    _check_integers(global_batch_rows=global_batch_rows)
    _check_batch(order, global_batch_rows, world_size)
    if max_seq_len is None:
        max_seq_len = _NO_LIMIT if objective is None and packing is None else order.max_seq_len
    if max_seq_len is None:
        raise ConfigError(
            f"{order.where}: maximum sequence length unknown", "give max_seq_len (--max-seq-len)"
        )
    _check_integers(max_seq_len=max_seq_len)
    if max_seq_len < _SHORTEST:
        raise ConfigError(f"max_seq_len: got {max_seq_len}, expected at least {_SHORTEST}")
    special = special_ids(order) if special is None else special
    _check_special(order, objective, special)
    return Feed(
        order=order if world_size == 1 else order.for_ranks(),
        schedule=Schedule(num_rows_per_step=global_batch_rows),
        micro_batch_rows=micro_batch_rows,
        rank=rank,
        world_size=world_size,
        objective=objective,
        form=form,
        max_seq_len=max_seq_len,
        special=special,
        on_damage=on_damage,
        pad_to_multiple=pad_to_multiple,
        packing=packing,
        digests=digests,
    )


def special_ids(order: Order, tokenizer: str | None = None) -> SpecialIds:
    """Return the special ids of the tokenizer that made an order.

    tokenizer: the path of its `tokenizer.json`; by default the copy that the order has, or, where
    it has none, the embedded one.

    Raises: MismatchError when another tokenizer made the order; as `read_special_ids`.
    """
    if tokenizer is None and order.read_tokenizer is not None:
        name, data = f"{order.where}/{TOKENIZER}", order.read_tokenizer()
    else:
        name = tokenizer or EMBEDDED
        data = read_json(name)
    digest = sha256_bytes(data)
    if order.tokenizer_digest not in (None, digest):
        hint = "feed it with the tokenizer.json that made them: --tokenizer FILE, or"
        if tokenizer == EMBEDDED:
            hint = "for a model of this tokenizer, build the rows with it; for one of your own,"
        raise MismatchError(
            f"{order.where}: got ids of the tokenizer {order.tokenizer_digest}, expected those of"
            f" {name}, {digest}",
            f"{hint} special=special_ids(order, FILE)",
        )
    return read_special_ids(name, data)


def _check_special(order: Order, objective: Objective | None, special: SpecialIds) -> None:
    missing = {"mask": special.mask_id, "end": special.sep_id}
    lacks = [name for name, id_ in missing.items() if id_ == NO_TOKEN]
    if isinstance(objective, Mlm) and lacks:
        raise ConfigError(
            f"{order.where}: its tokenizer has no {' and no '.join(lacks)} token, expected one for"
            " the objective mlm",
            "feed it with the objective clm, or none",
        )


def _check_layout(form: str, on_damage: str, packing: str | None, pad_to_multiple: int) -> None:
    for name, got, known in (("form", form, Form), ("on_damage", on_damage, OnDamage)):
        if got not in get_args(known):
            expected = " or ".join(map(repr, get_args(known)))
            raise ConfigError(f"{name}: got {got!r}, expected {expected}")
    if form == "padded" and pad_to_multiple != 1:
        raise ConfigError(
            f"pad_to_multiple: got {pad_to_multiple!r} with form 'padded', expected 1",
            "it pads the form 'flat'; leave it out, or feed that form",
        )
    if packing not in (None, *PACKERS):
        raise ConfigError(
            f"packing: got {packing!r}, expected {' or '.join(map(repr, PACKERS))}, or None"
        )
    given = [f"form {form!r}"] if form != "flat" else []
    given += [f"pad_to_multiple {pad_to_multiple!r}"] if pad_to_multiple != 1 else []
    if packing is not None and given:
        raise ConfigError(
            f"packing: got {' and '.join(given)} too, expected none, since bins are padded to"
            " max_seq_len",
            "leave it out",
        )


def _check_integers(**arguments: object) -> None:
    for name, got in arguments.items():
        if not isinstance(got, Integral) or isinstance(got, bool):
            raise ConfigError(f"{name}: got {got!r}, expected an integer")


def _check_objective(order: Order, objective: Objective | None) -> None:
    if not isinstance(objective, Mlm | Clm | None):
        raise ConfigError(
            f"objective: got {objective!r}, expected Mlm(mask_prob=…, seed=…), Clm() or None"
        )
    view = view_of(objective)
    if objective is not None and order.view not in (None, "stored", view):
        raise ConfigError(
            f"{order.where}: was written for the view {order.view}, expected {view}, or stored",
            "feed it with its own objective, or build the order with --set order.view=stored",
        )
    if isinstance(objective, Mlm):
        _check_integers(seed=objective.seed)
        is_number = isinstance(objective.mask_prob, Real)
        if not (is_number and 0 < objective.mask_prob <= 1):
            raise ConfigError(
                f"mask_prob: got {objective.mask_prob!r}, expected above 0, at most 1"
            )


def _check_batch(order: Order, num_rows: int, world_size: int) -> None:
    if num_rows < 1:
        raise ConfigError(f"global_batch_rows: got {num_rows}, expected at least 1")
    if order.rows.num_rows < num_rows:
        raise InputError(
            f"{order.where}: got {order.rows.num_rows:,} rows, expected at least the {num_rows:,}"
            " of a step",
            "take a smaller global batch",
        )
    if num_rows % world_size:
        small = [one for one in range(1, isqrt(num_rows) + 1) if num_rows % one == 0]
        divisors = sorted({*small, *(num_rows // one for one in small)})
        above = bisect(divisors, world_size)
        nearest = ", ".join(map(str, divisors[above - 1 : above + 1]))
        raise ConfigError(
            f"world size: got {world_size}, expected one that divides the {num_rows:,} rows of a"
            f" step; the nearest: {nearest}",
            "take one of these, or another global batch",
        )
