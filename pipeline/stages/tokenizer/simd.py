"""The machine operations that numba lacks, as LLVM code.

They take a C-contiguous array and an index and check no bounds: callers keep 128 readable bytes
behind the last index. LLVM lowers the 64-byte vectors to the processor, which must be
little-endian (checked in `encode`).
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BLOCK = 64
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def _pointer(target: Any, context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Return the address of element `index`, as a pointer to `target`."""
    proxy = context.make_array(kind)(context, builder, array)
    address = builder.gep(proxy.data, [index])
    return builder.bitcast(address, target.as_pointer())


@intrinsic
def load64(typing: Any, array: Any, index: Any) -> Any:
    """Load eight bytes of a uint8 array as one word, at any alignment."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(_I64, context, builder, signature.args[0], *arguments)
        return builder.load(pointer, align=1)

    return types.uint64(array, types.int64), generate


@intrinsic
def trailing_zeros(typing: Any, word: Any) -> Any:
    """Count trailing zero bits of a word that is not zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def store_ids(typing: Any, out: Any, count: Any, words: Any, index: Any) -> Any:
    """Widen the eight 16-bit ids at `words[index]` into `out[count : count + 8]`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow, wide = ir.VectorType(_I16, 8), ir.VectorType(_I32, 8)
        source = _pointer(narrow, context, builder, signature.args[2], *arguments[2:])
        target = _pointer(wide, context, builder, signature.args[0], *arguments[:2])
        builder.store(builder.zext(builder.load(source, align=8), wide), target, align=4)
        return context.get_dummy_value()

    return types.void(out, types.int64, words, types.int64), generate


@intrinsic
def classify(typing: Any, array: Any, index: Any) -> Any:
    """Classify 64 bytes of a uint8 array; bit i of each word is byte `index + i`.

    Returns ASCII letters, ASCII digits, ASCII white space, spaces, bytes >= 0x80, apostrophes, and
    suspects: `[` before one of `UCSPMu`, `<|` and `||`, the beginnings of all added tokens other
    than runs of spaces.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_I8, _BLOCK)

        def load(offset: int) -> Any:
            at = builder.add(arguments[1], ir.Constant(_I64, offset))
            pointer = _pointer(vector, context, builder, signature.args[0], arguments[0], at)
            return builder.load(pointer, align=1)

        def every(value: int) -> Any:
            return ir.Constant(vector, [value] * _BLOCK)

        def within(value: Any, first: str, size: int) -> Any:
            shifted = builder.sub(value, every(ord(first)))
            return builder.icmp_unsigned("<", shifted, every(size))

        def equal(value: Any, character: str) -> Any:
            return builder.icmp_unsigned("==", value, every(ord(character)))

        here, following = load(0), load(1)
        space = equal(here, " ")
        named = equal(following, "U")
        for character in "CSPMu":
            named = builder.or_(named, equal(following, character))
        bar = equal(following, "|")
        angle = builder.or_(equal(here, "<"), equal(here, "|"))
        results = [
            within(builder.or_(here, every(0x20)), "a", 26),
            within(here, "0", 10),
            builder.or_(space, within(here, "\t", 5)),
            space,
            builder.icmp_signed("<", here, every(0)),
            equal(here, "'"),
            builder.or_(builder.and_(equal(here, "["), named), builder.and_(angle, bar)),
        ]
        words = [builder.bitcast(result, _I64) for result in results]
        return cgutils.pack_array(builder, words)

    return types.UniTuple(types.uint64, 7)(array, types.int64), generate
