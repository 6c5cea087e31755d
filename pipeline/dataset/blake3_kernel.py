"""The compiled BLAKE3 of many short messages at once.

Digests are those of any library, which fills the lanes of a processor's vectors with the chunks of
one message. A row has few; here the chunks of many rows fill them, then their parents, by level.

Source: github.com/BLAKE3-team/BLAKE3-specs, blake3.pdf, section 2; words and flags are from there.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.compiled import compiled, inlined

_FEATURES = config.CPU_FEATURES
if _FEATURES is None:
    _FEATURES = binding.get_host_cpu_features().flatten()
# The words of a vector of the processor; two vectors at a time cost a third of the speed.
_LANES = 16 if "+avx512f" in _FEATURES else 8 if "+avx2" in _FEATURES else 4
_CV_WORDS = 8
_BLOCK_WORDS = 16
_CHUNK_WORDS = 256
_CHUNK_BLOCKS = _CHUNK_WORDS // _BLOCK_WORDS
# Their chaining values and jobs fit the L2 cache beside what is prefetched.
_BATCH_CHUNKS = 1024

_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8
_IV = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
# Columns, then diagonals; each takes the next two words of the message.
_MIXED = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)
_ROUNDS = 7

# A job is a chunk or a parent. Rows of `jobs`, uint32: how many words its message has; whether the
# first of them is a prefix, not in memory, and which; its number in its row; the flag of a root.
_SIZE, _HAS_PREFIX, _PREFIX, _COUNTER, _IS_ROOT = range(5)
# Rows of `places`, int64: address of the first word; row of `cvs` that the chaining value goes to.
_ADDRESS, _TARGET = range(2)

_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))
_VECTOR = ir.VectorType(_I32, _LANES)
_ZEROS = _VECTOR([0] * _LANES)
_MASK = ir.VectorType(ir.IntType(1), _LANES)


def hash_words(
    words: Uint32Array, offsets: Int64Array, num_prefixed: int, key: bytes, mode: int
) -> Uint8Array:
    """Return the digests of rows of words: uint8 [num_rows, 32].

    words: uint32 [num_words], read as they are in memory; offsets: int64 [num_rows + 1];
    num_prefixed: 1 if each row is prefixed with its length, else 0; key: 32 bytes, b"" for that of
    the plain hash; mode: the flags of all blocks.
    """
    words, offsets = np.ascontiguousarray(words), np.array(offsets, np.int64)
    assert words.dtype == np.uint32
    assert offsets[0] >= 0
    assert offsets[-1] <= words.size
    assert (offsets[1:] >= offsets[:-1]).all()
    digests = np.empty((offsets.size - 1, _CV_WORDS), np.uint32)
    start = np.frombuffer(key, np.uint32).copy() if key else np.array(_IV, np.uint32)
    # An address, since numba compiles again for a read-only array.
    _hash_words(words.ctypes.data, offsets, num_prefixed, start, mode, digests)
    return digests.view(np.uint8)


@compiled
def _hash_words(
    address: int,
    offsets: Int64Array,
    num_prefixed: int,
    key: Uint32Array,
    mode: int,
    digests: Uint32Array,
) -> None:
    """Hash rows in batches, whose chaining values stay in the cache."""
    num_rows = offsets.size - 1
    most = np.int64(_BATCH_CHUNKS)
    for row in range(num_rows):
        most = max(most, _count_chunks(offsets, row, num_prefixed))
    # Padded, so that two whole vectors can be read from any job on.
    jobs = np.zeros((5, most + 2 * _LANES), np.uint32)
    places = np.zeros((2, most + 2 * _LANES), np.int64)
    cvs = np.empty((most, _CV_WORDS), np.uint32)
    bases = np.zeros(most + 1, np.int64)
    first = 0
    while first < num_rows:
        size = 0
        while first + size < num_rows:
            base = bases[size] + _count_chunks(offsets, first + size, num_prefixed)
            if base > most:
                break
            size += 1
            bases[size] = base
        batch = offsets[first : first + size + 1]
        _list_chunks(address, batch, num_prefixed, bases, jobs, places)
        _run(
            bases[size], jobs, places, key, mode, np.int64(_CHUNK_START), np.int64(_CHUNK_END), cvs
        )
        _join_chunks(bases[: size + 1], jobs, places, key, mode, cvs)
        for row in range(size):
            for i in range(_CV_WORDS):
                digests[first + row, i] = cvs[bases[row], i]
        first += size


@inlined
def _count_chunks(offsets: Int64Array, row: int, num_prefixed: int) -> Any:
    size = offsets[row + 1] - offsets[row] + num_prefixed
    return (size + _CHUNK_WORDS - 1) // _CHUNK_WORDS


@inlined
def _list_chunks(
    address: int,
    offsets: Int64Array,
    num_prefixed: int,
    bases: Int64Array,
    jobs: Uint32Array,
    places: Int64Array,
) -> None:
    """List all chunks as jobs, those of most blocks first, so that lanes end together."""
    # By blocks short of a whole chunk: the index of the next such job.
    nexts = np.zeros(_CHUNK_BLOCKS + 2, np.int64)
    for row in range(offsets.size - 1):
        num_whole = bases[row + 1] - bases[row] - 1
        rest = offsets[row + 1] - offsets[row] + num_prefixed - num_whole * _CHUNK_WORDS
        nexts[1] += num_whole
        nexts[(_CHUNK_WORDS - rest) // _BLOCK_WORDS + 1] += 1
    for i in range(_CHUNK_BLOCKS + 1):
        nexts[i + 1] += nexts[i]
    for row in range(offsets.size - 1):
        length = offsets[row + 1] - offsets[row]
        num_chunks = bases[row + 1] - bases[row]
        for number in range(num_chunks):
            done = number * _CHUNK_WORDS
            size = min(_CHUNK_WORDS, length + num_prefixed - done)
            bucket = (_CHUNK_WORDS - size) // _BLOCK_WORDS
            job = nexts[bucket]
            nexts[bucket] += 1
            jobs[_SIZE, job] = size
            jobs[_HAS_PREFIX, job] = num_prefixed if number == 0 else 0
            jobs[_PREFIX, job] = length
            jobs[_COUNTER, job] = number
            jobs[_IS_ROOT, job] = _ROOT if num_chunks == 1 else 0
            places[_ADDRESS, job] = address + 4 * (offsets[row] - num_prefixed + done)
            places[_TARGET, job] = bases[row] + number


@inlined
def _join_chunks(
    bases: Int64Array,
    jobs: Uint32Array,
    places: Int64Array,
    key: Uint32Array,
    mode: int,
    cvs: Uint32Array,
) -> None:
    """Turn the chaining values of each row's chunks into its digest, at `cvs[bases[row]]`."""
    address = cvs.ctypes.data
    jobs[_HAS_PREFIX] = 0
    jobs[_COUNTER] = 0
    counts = np.diff(bases)
    while True:
        num_jobs = 0
        for row in range(counts.size):
            for pair in range(counts[row] // 2):
                jobs[_SIZE, num_jobs] = _BLOCK_WORDS
                jobs[_IS_ROOT, num_jobs] = _ROOT if counts[row] == 2 else 0
                places[_ADDRESS, num_jobs] = address + 4 * _CV_WORDS * (bases[row] + 2 * pair)
                places[_TARGET, num_jobs] = bases[row] + pair
                num_jobs += 1
        if num_jobs == 0:
            break
        _run(num_jobs, jobs, places, key, mode, np.int64(_PARENT), np.int64(0), cvs)
        for row in range(counts.size):
            if counts[row] > 1 and counts[row] % 2:
                for i in range(_CV_WORDS):
                    cvs[bases[row] + counts[row] // 2, i] = cvs[bases[row] + counts[row] - 1, i]
            counts[row] -= counts[row] // 2


@inlined
def _run(
    num_jobs: int,
    jobs: Uint32Array,
    places: Int64Array,
    key: Uint32Array,
    mode: int,
    start: int,
    end: int,
    cvs: Uint32Array,
) -> None:
    """Store the chaining value of each job in its row of `cvs`; the longest jobs come first."""
    jobs[_SIZE, num_jobs : num_jobs + _LANES] = 0
    state = np.empty((_CV_WORDS, _LANES), np.uint32)
    for first in range(0, num_jobs, _LANES):
        for i in range(_CV_WORDS):
            for lane in range(_LANES):
                state[i, lane] = key[i]
        num_blocks = (np.int64(jobs[_SIZE, first]) + _BLOCK_WORDS - 1) // _BLOCK_WORDS
        for block in range(num_blocks):
            _compress(state, jobs, places, first, block, mode, start, end)
        for lane in range(min(_LANES, num_jobs - first)):
            for i in range(_CV_WORDS):
                cvs[places[_TARGET, first + lane], i] = state[i, lane]


@intrinsic
def _compress(  # type: ignore[no-untyped-def]
    typing, state, jobs, places, first, block, mode, start, end
) -> Any:
    """Compress one block of a job in each lane into their chaining values.

    state: uint32 [8, lanes], in place; first: the first job; block: the block's number, from 0;
    mode, start, end: flags of all blocks, the first and the last of a job. A job of fewer blocks is
    left as it is.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def address(argument: int, row: int, column: Any) -> Any:
            kind = signature.args[argument]
            array = context.make_array(kind)(context, builder, arguments[argument])
            width = builder.extract_value(array.shape, 1)
            return builder.gep(array.data, [builder.add(builder.mul(width, _I64(row)), column)])

        def vector(argument: int, row: int, column: Any) -> Any:
            return builder.bitcast(address(argument, row, column), _VECTOR.as_pointer())

        def every(value: Any) -> Any:
            return _repeat(builder, builder.trunc(value, _I32))

        def choose(condition: Any, value: Any) -> Any:
            return builder.select(condition, value, _ZEROS)

        first, block = arguments[3:5]
        mode, start, end = map(every, arguments[5:])
        size, has_prefix, prefix, counter, is_root = (
            builder.load(vector(1, row, first), align=4) for row in range(5)
        )
        done = every(builder.mul(block, _I64(_BLOCK_WORDS)))
        message: list[Any] = []
        for part in range(0, _BLOCK_WORDS, _LANES):
            words = builder.add(done, _VECTOR([part + i for i in range(_LANES)]))
            rows = []
            for lane in range(_LANES):
                here, later = (
                    builder.add(
                        builder.load(address(2, _ADDRESS, builder.add(first, _I64(job)))),
                        builder.add(builder.mul(block, _I64(4 * _BLOCK_WORDS)), _I64(4 * part)),
                    )
                    for job in (lane, lane + _LANES)
                )
                _fetch(builder, later)
                one_size, one_has_prefix, one_prefix = (
                    builder.extract_element(value, _I32(lane))
                    for value in (size, has_prefix, prefix)
                )
                is_there = builder.and_(
                    builder.icmp_unsigned("<", words, _repeat(builder, one_size)),
                    builder.icmp_unsigned(">=", words, _repeat(builder, one_has_prefix)),
                )
                instead = _ZEROS
                if part == 0:
                    instead = builder.insert_element(_ZEROS, one_prefix, _I32(0))
                rows.append(_load_some(builder, here, is_there, instead))
            message += _transpose(builder, rows)
        left = builder.sub(size, done)
        is_last = builder.icmp_unsigned("<=", left, _VECTOR([_BLOCK_WORDS] * _LANES))
        num_words = builder.select(is_last, left, _VECTOR([_BLOCK_WORDS] * _LANES))
        is_first = builder.icmp_unsigned("==", done, _ZEROS)
        flags = builder.or_(mode, choose(is_first, start))
        flags = builder.or_(flags, choose(is_last, builder.or_(end, is_root)))
        before = [builder.load(vector(0, i, _I64(0)), align=4) for i in range(_CV_WORDS)]
        after = _mix(
            builder,
            [
                *before,
                *(_VECTOR([word] * _LANES) for word in _IV[:4]),
                *(counter, _ZEROS),
                *(builder.shl(num_words, _VECTOR([2] * _LANES)), flags),
            ],
            message,
        )
        has_block = builder.icmp_unsigned("<", done, size)
        for i in range(_CV_WORDS):
            value = builder.select(has_block, after[i], before[i])
            builder.store(value, vector(0, i, _I64(0)), align=4)
        return context.get_dummy_value()

    return types.void(state, jobs, places, *[types.int64] * 5), generate


def _repeat(builder: Any, value: Any) -> Any:
    """A vector of one value."""
    one = builder.insert_element(_VECTOR(ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(one, one, _ZEROS)


def _fetch(builder: Any, address: Any) -> None:
    """Prefetch the bytes at any address: to read, into all caches, as data."""
    kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    hints = (_I32(0), _I32(3), _I32(1))
    builder.call(function, [builder.inttoptr(address, _I8.as_pointer()), *hints])


def _load_some(builder: Any, address: Any, is_there: Any, instead: Any) -> Any:
    """Load a vector of words; the memory of masked words is not touched."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR.as_pointer(), _I32, _MASK, _VECTOR])
    function = cgutils.get_or_insert_function(
        builder.module, kind, f"llvm.masked.load.v{_LANES}i32.p0"
    )
    pointer = builder.inttoptr(address, _VECTOR.as_pointer())
    return builder.call(function, [pointer, _I32(1), is_there, instead])


def _transpose(builder: Any, rows: list[Any]) -> list[Any]:
    """Turn vectors of a lane's words into vectors of a word's lanes."""
    # Each turn exchanges one bit of a vector's number with the same bit of a place in it.
    for bit in (1 << i for i in range(_LANES.bit_length() - 1)):
        low = [place & ~bit | (_LANES if place & bit else 0) for place in range(_LANES)]
        high = [place | bit for place in low]
        turned = list(rows)
        for i in range(_LANES):
            if not i & bit:
                for target, picked in ((i, low), (i + bit, high)):
                    turned[target] = builder.shuffle_vector(rows[i], rows[i + bit], _VECTOR(picked))
        rows = turned
    return rows


def _mix(builder: Any, state: list[Any], message: list[Any]) -> list[Any]:
    """Return the first eight words of the compression function, of all lanes."""

    def rotate(value: Any, count: int) -> Any:
        right, left = (_VECTOR([bits] * _LANES) for bits in (count, 32 - count))
        return builder.or_(builder.lshr(value, right), builder.shl(value, left))

    for _ in range(_ROUNDS):
        for number, (a, b, c, d) in enumerate(_MIXED):
            for word, turn_d, turn_b in ((2 * number, 16, 12), (2 * number + 1, 8, 7)):
                # In this order, since the word is there long before `b` is.
                state[a] = builder.add(builder.add(state[a], message[word]), state[b])
                state[d] = rotate(builder.xor(state[d], state[a]), turn_d)
                state[c] = builder.add(state[c], state[d])
                state[b] = rotate(builder.xor(state[b], state[c]), turn_b)
        message = [message[i] for i in _PERMUTATION]
    return [builder.xor(state[i], state[i + 8]) for i in range(_CV_WORDS)]
