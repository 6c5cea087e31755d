"""Many digests at once, against a BLAKE3 library that makes one at a time."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import binding
from support.paths import REPOSITORY
from support.strategies import QUICK

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.compiled import Budget, little_work
from pipeline.core.errors import InternalError
from pipeline.dataset import blake3 as ours


def make_rows(lengths: Sequence[int], seed: int = 0) -> tuple[Uint32Array, Int64Array]:
    """Rows of any 32-bit ids: ids and offsets."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.random.default_rng(seed).integers(0, 1 << 32, offsets[-1], dtype=np.uint32)
    return ids, offsets


def library_digests(ids: Uint32Array, offsets: Int64Array) -> bytes:
    rows = (ids[start:stop] for start, stop in pairwise(offsets))
    return b"".join(
        blake3(np.uint32(len(row)).astype("<u4").tobytes() + row.astype("<u4").tobytes()).digest()
        for row in rows
    )


def assert_equal_to_the_library(ids: Uint32Array, offsets: Int64Array) -> None:
    digests = ours.row_digests(ids, offsets)
    assert digests.dtype == np.uint8
    assert digests.shape == (len(offsets) - 1, 32)
    assert digests.tobytes() == library_digests(ids, offsets)


def test_every_small_length_is_as_the_library_has_it() -> None:
    assert_equal_to_the_library(*make_rows(range(1200)))


def test_every_small_length_alone_is_as_the_library_has_it() -> None:
    for length in (*range(40), *range(250, 260), *range(505, 520)):
        assert_equal_to_the_library(*make_rows([length], seed=length))


def around(step: int, largest: int) -> Iterator[int]:
    return (size + near for size in range(step, largest, step) for near in (-2, -1, 0, 1))


def test_lengths_about_chunks_and_powers_of_two_are_as_the_library_has_them() -> None:
    assert_equal_to_the_library(*make_rows([*around(256, 20_000)]))
    assert_equal_to_the_library(*make_rows([(1 << i) - 1 for i in range(18)]))


def test_more_chunks_than_a_batch_has_are_as_the_library_has_them() -> None:
    assert_equal_to_the_library(*make_rows([7, 256 * 1024 - 1, 256 * 1024, 300_000, 5]))
    assert_equal_to_the_library(*make_rows([256 * 1000, 256 * 24 - 1, 1, 256 * 1024]))
    assert_equal_to_the_library(*make_rows([3] * 2500))


@QUICK
@given(
    st.lists(st.one_of(st.integers(0, 40), st.integers(0, 1100), st.integers(0, 9000))),
    st.integers(0, 1 << 32),
)
def test_any_rows_are_as_the_library_has_them(lengths: list[int], seed: int) -> None:
    assert_equal_to_the_library(*make_rows(lengths, seed))


@QUICK
@given(st.lists(st.integers(0, 700), min_size=1, max_size=30), st.data())
def test_a_part_of_the_rows_has_a_part_of_the_digests(
    lengths: list[int], data: st.DataObject
) -> None:
    ids, offsets = make_rows(lengths)
    start = data.draw(st.integers(0, len(lengths)))
    stop = data.draw(st.integers(start, len(lengths)))
    part = ours.row_digests(ids, offsets[start : stop + 1])
    np.testing.assert_array_equal(part, ours.row_digests(ids, offsets)[start:stop])


def test_arrays_that_are_read_only_or_strided_are_read_alike() -> None:
    ids, offsets = make_rows([5, 0, 300, 1025])
    expected = ours.row_digests(ids, offsets)
    wide = np.repeat(ids, 2)
    ids.flags.writeable = offsets.flags.writeable = False
    np.testing.assert_array_equal(ours.row_digests(ids, offsets), expected)
    np.testing.assert_array_equal(ours.row_digests(wide[::2], offsets), expected)


FROZEN = [
    "ec2bd03bf86b935fa34d71ad7ebb049f1f10f87d343e521511d8f9e6625620cd",
    "a78e5feb856281a099fb65aef9413c4a35ff07fbd7d6ec120f0c9ae9bedea865",
    "2db0b5a71f9fb98565df8052d28452e04a5f296a6682e89ae505f488f267649a",
]


def test_digests_are_frozen() -> None:
    ids = np.array([50281, 510, 50282, *range(2000)], np.uint32)
    digests = ours.row_digests(ids, np.array([0, 0, 3, 2003]))
    assert [digest.tobytes().hex() for digest in digests] == FROZEN


CONTEXT = "ettin-data ledger-v1 parent"
KEY = bytes.fromhex("5c4d03678c505f394c72721b9d54427e828893e8b3d6103a8bd7e7e613a2536f")


def assert_pairs_are_equal(num_pairs: int) -> None:
    pairs = np.random.default_rng(0).integers(0, 256, (num_pairs, 64), dtype=np.uint8)
    expected = [blake3(pair.tobytes(), derive_key_context=CONTEXT).digest() for pair in pairs]
    assert ours.derive_pairs(pairs, CONTEXT, KEY).tobytes() == b"".join(expected)


@pytest.mark.parametrize("num_pairs", [0, 1, 2, 15, 16, 17, 1024, 1025, 3000])
def test_derived_pairs_are_as_the_library_has_them(num_pairs: int) -> None:
    assert_pairs_are_equal(num_pairs)


@pytest.mark.parametrize("most", [0, 1000, 1 << 40])
def test_the_library_may_digest_the_first_rows_and_pairs(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(ours, "_LITTLE", Budget(most))
    used: list[int] = []
    in_kernel = ours._hash
    monkeypatch.setattr(ours, "_hash", lambda *rows: used.append(1) or in_kernel(*rows))
    with little_work():
        for start in range(0, 1200, 300):
            assert_equal_to_the_library(*make_rows(range(start, start + 300)))
        assert_pairs_are_equal(300)
    assert len(used) == {0: 5, 1000: 2, 1 << 40: 0}[most]


def test_a_machine_that_digests_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_CHECK_DIGEST", "00" * 32)
    ours._check.cache_clear()
    message = r"^blake3: got 8da5.* for rows of known digest, expected 0000"
    with pytest.raises(InternalError, match=message):
        ours.row_digests(*make_rows([1]))
    with pytest.raises(InternalError, match=message):
        ours.derive_pairs(np.zeros((1, 64), np.uint8), CONTEXT, KEY)


def run_python(code: str, **environment: str) -> None:
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True)


def test_nothing_is_compiled_on_import() -> None:
    run_python("from pipeline.dataset import blake3; import sys; assert 'numba' not in sys.modules")


GUARDED = """
import ctypes, mmap
import numpy as np
from pipeline.dataset.blake3 import row_digests

PAGE = mmap.PAGESIZE
memory = mmap.mmap(-1, 3 * PAGE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
ids = np.frombuffer(memory, np.uint32, PAGE // 4, PAGE)
protect = ctypes.CDLL(None, use_errno=True).mprotect
for page in (0, 2):
    place = ctypes.c_void_p(address + page * PAGE)
    assert protect(place, ctypes.c_size_t(PAGE), 0) == 0, ctypes.get_errno()
for size in (1, 15, 16, 17, 255, 256, 257, 500, PAGE // 4):
    alike = np.zeros(size, np.uint32)
    expected = row_digests(alike, np.array([0, size])).tobytes()
    for start in (0, len(ids) - size):
        assert row_digests(ids, np.array([start, start + size])).tobytes() == expected
"""


@pytest.mark.skipif(sys.platform == "win32", reason="memory is protected by a POSIX call")
def test_no_memory_beside_the_ids_is_touched() -> None:
    run_python(GUARDED)


FEATURES = {"generic": "+sse2", "haswell": "+sse2,+sse4.2,+avx,+avx2,+bmi2,+fma"}


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="processors of one family")
@pytest.mark.parametrize("name", FEATURES)
def test_processors_with_shorter_vectors_digest_alike(name: str, tmp_path: Path) -> None:
    present = binding.get_host_cpu_features()
    if not all(present.get(feature.lstrip("+")) for feature in FEATURES[name].split(",")):
        pytest.skip(f"this processor is older than {name}")
    code = "\n".join(
        [
            f"import sys; sys.path[:0] = [{str(REPOSITORY / 'tests')!r}]",
            "import dataset.test_blake3 as tests",
            "from pipeline.dataset import blake3_kernel as kernel",
            f"assert kernel._LANES == {8 if name == 'haswell' else 4}",
            "tests.test_every_small_length_is_as_the_library_has_it()",
            "tests.test_lengths_about_chunks_and_powers_of_two_are_as_the_library_has_them()",
            "tests.test_derived_pairs_are_as_the_library_has_them(1025)",
        ]
    )
    run_python(
        code,
        NUMBA_CPU_NAME=name,
        NUMBA_CPU_FEATURES=FEATURES[name],
        NUMBA_CACHE_DIR=str(tmp_path),
    )
