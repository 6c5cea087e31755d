"""Making a feed: what the order says of it, and what cannot be fed."""

import dataclasses
import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fed_rows import (
    MLM,
    SPECIAL,
    Listed,
    an_order,
    array,
    digests,
    made,
)

from pipeline import dataset
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import (
    ConfigError,
    InputError,
    MismatchError,
)
from pipeline.core.ragged import Rows
from pipeline.feed.batch import Clm, Mlm
from pipeline.feed.factory import make_feed, special_ids
from pipeline.feed.feed import Feed

# What cannot be fed.


@pytest.mark.parametrize(
    ("world_size", "nearest"),
    [(5, "the nearest: 4, 8"), (7, "the nearest: 4, 8"), (9, "the nearest: 8")],
)
def test_a_world_size_that_does_not_divide_a_step_is_told_the_nearest_that_do(
    world_size: int, nearest: str
) -> None:
    with pytest.raises(ConfigError, match=f"got {world_size}, expected one .* 8 rows.*{nearest}"):
        make(an_order(Listed(made(24))), world_size=world_size)


def test_the_nearest_world_sizes_of_a_large_step_are_told_at_once() -> None:
    order = an_order(Listed([]))
    order = dataclasses.replace(order, rows=Many(2_000_000_011))
    with pytest.raises(ConfigError, match="the nearest: 1, 2000000011"):
        make(order, global_batch_rows=2_000_000_011, world_size=2)
    with pytest.raises(InputError, match="got 24 rows, expected at least the 2,000,000,011"):
        make(an_order(Listed(made(24))), global_batch_rows=2_000_000_011, world_size=2)


@dataclass
class Many:
    """So many rows, none of which can be taken."""

    num_rows: int

    def take(self, rows: Int64Array) -> Rows:
        raise AssertionError(rows)


def make(order: dataset.Order, **fields: Any) -> Feed:
    told: dict[str, Any] = {"objective": MLM, "micro_batch_rows": 3, "special": SPECIAL}
    return make_feed(order, **(told | fields))


def test_a_feed_is_made_of_what_the_order_says() -> None:
    feed = make(an_order(Listed(made(24))))
    assert (feed.num_steps, feed.max_seq_len, feed.view, feed.row) == (3, 6, "encoder", 0)
    other = make(an_order(Listed(made(24))), global_batch_rows=5, max_seq_len=4, objective=Clm())
    assert (other.num_steps, other.max_seq_len, other.view) == (4, 4, "decoder")
    assert make(an_order(Listed(made(24))), micro_batch_rows=99).num_steps == 3
    assert len(list(make(an_order(Listed(made(24))), micro_batch_rows=99))) == 3
    padded = next(iter(make(an_order(Listed(made(24))), pad_to_multiple=64, digests=True)))
    assert array(padded, "input_ids").shape == (1, 64)
    assert padded.num_tokens < 64
    assert len(digests(padded)) == 3
    rowwise = next(iter(make(an_order(Listed(made(24))), form="padded")))
    assert array(rowwise, "labels").shape == (3, 6)
    long = an_order(Listed([[1] * 50] * 8))
    assert next(iter(make(long, objective=None))).num_tokens == 150


@pytest.mark.parametrize(
    ("told", "fields", "complaint"),
    [
        ({}, {"rank": 2, "world_size": 2}, "rank: got 2 of world size 2, expected one of 0 to"),
        ({}, {"rank": -1}, "rank: got -1 of world size 1"),
        ({}, {"micro_batch_rows": 0}, "micro_batch_rows, pad_to_multiple: got 0, 1, expected 1"),
        ({}, {"pad_to_multiple": 0}, "micro_batch_rows, pad_to_multiple: got 3, 0"),
        ({}, {"global_batch_rows": 0}, "global_batch_rows: got 0, expected at least 1"),
        ({}, {"max_seq_len": 2}, "max_seq_len: got 2, expected at least 3"),
        ({}, {"objective": Mlm(mask_prob=0.0, seed=1)}, "mask_prob: got 0.0, expected above 0"),
        (
            {},
            {"objective": "mlm"},
            "objective: got 'mlm', expected Mlm(mask_prob=…, seed=…), Clm()",
        ),
        (
            {},
            {"objective": Mlm},
            "objective: got <class 'pipeline.feed.batch.Mlm'>, expected Mlm(",
        ),
        ({}, {"objective": Mlm(mask_prob="0.3", seed=1)}, "mask_prob: got '0.3', expected above 0"),  # type: ignore[arg-type]
        ({}, {"objective": Mlm(mask_prob=0.3, seed=0.5)}, "seed: got 0.5, expected an integer"),  # type: ignore[arg-type]
        ({}, {"form": "padding"}, "form: got 'padding', expected 'flat' or 'padded'"),
        ({}, {"on_damage": "skip"}, "on_damage: got 'skip', expected 'stop' or 'tombstone'"),
        ({}, {"micro_batch_rows": 2.5}, "micro_batch_rows: got 2.5, expected an integer"),
        ({}, {"micro_batch_rows": "3"}, "micro_batch_rows: got '3', expected an integer"),
        ({}, {"world_size": 1.0}, "world_size: got 1.0, expected an integer"),
        ({}, {"global_batch_rows": 8.0}, "global_batch_rows: got 8.0, expected an integer"),
        ({}, {"max_seq_len": 6.5}, "max_seq_len: got 6.5, expected an integer"),
        ({}, {"pad_to_multiple": True}, "pad_to_multiple: got True, expected an integer"),
        ({}, {"pad_to_multiple": 8, "form": "padded"}, "pad_to_multiple: got 8 with form 'padded'"),
        ({"num_rows_per_step": None}, {}, "somewhere: batch size unknown"),
        ({"max_seq_len": None}, {}, "somewhere: maximum sequence length unknown"),
        ({"view": "decoder"}, {}, "somewhere: was written for the view decoder, expected encoder"),
        ({"view": "encoder"}, {"objective": Clm()}, "view encoder, expected decoder, or stored"),
    ],
)
def test_what_cannot_be_fed_is_refused(
    told: dict[str, Any], fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(an_order(Listed(made(24)), **told), **fields)
    assert complaint in caught.value.message


def test_an_order_of_less_than_a_step_is_refused() -> None:
    with pytest.raises(InputError, match="got 7 rows, expected at least the 8 of a step"):
        make(an_order(Listed(made(7))))


def test_an_order_written_for_a_view_is_fed_under_it_or_as_it_is() -> None:
    order = an_order(Listed(made(24)), view="decoder")
    for objective in (Clm(), None):
        assert make(order, objective=objective).num_steps == 3


def test_an_order_of_another_tokenizer_is_refused() -> None:
    order = an_order(Listed(made(24)), tokenizer_digest="cd" * 32)
    with pytest.raises(MismatchError, match=f"got ids of the tokenizer {'cd' * 32}, expected"):
        make(order, special=None)
    large = Listed([*made(20), [5, 100, 7], *made(3)])
    with pytest.raises(InputError, match="row 20: got id 100, expected ids below 100"):
        list(make(an_order(large), on_damage="tombstone"))


def test_special_ids_are_those_of_the_tokenizer(finished: Path, tmp_path: Path) -> None:
    order = dataset.open(finished)
    special = special_ids(order)
    assert (special.cls_id, special.sep_id, special.pad_id, special.mask_id) == (
        50281, 50282, 50283, 50284,
    )  # fmt: skip
    assert special.vocab_size == 50368
    assert np.flatnonzero(special.is_special).tolist() == [1, *range(50279, 50285)]
    other = dataset.Order(
        where="x", rows=order.rows, digest=order.digest, tokenizer_digest="0" * 64
    )
    with pytest.raises(MismatchError, match=f"x: got ids of the tokenizer {'0' * 64}, expected"):
        special_ids(other)
    unknown = dataset.Order(where="x", rows=order.rows, digest=order.digest)
    assert special_ids(unknown).mask_id == 50284


def test_a_tokenizer_without_a_mask_is_refused(finished: Path, tmp_path: Path) -> None:
    from pipeline.stages.tokenizer import read_json

    content = json.loads(read_json("modernbert"))
    content["added_tokens"] = [one for one in content["added_tokens"] if one["id"] != 50284]
    content["post_processor"]["special_tokens"].pop("[MASK]", None)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    unknown = dataset.Order(where="x", rows=dataset.open(finished).rows, digest="0" * 64)
    special = special_ids(unknown, str(path))
    masked = {"global_batch_rows": 4, "max_seq_len": 64, "objective": Mlm(mask_prob=0.3, seed=1)}
    with pytest.raises(ConfigError, match="its tokenizer has no mask token, expected one for"):
        make_feed(unknown, micro_batch_rows=2, special=special, **masked)
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(MismatchError, match="tokenizer"))
        special_ids(dataset.open(finished), str(_plain_copy(tmp_path)))


def _plain_copy(folder: Path) -> Path:
    """Write the embedded tokenizer with other spaces, which is another by its digest."""
    from pipeline.stages.tokenizer import read_json

    path = folder / "copy.json"
    path.write_bytes(read_json("modernbert") + b"\n")
    return path
