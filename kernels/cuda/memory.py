"""What Numba has no word for: wide loads, and messages between blocks that are running.

A message is a word of 64 bits, 32 of payload under a tag of 32. Such a word is written and read in
one piece, so that whoever finds the tag it waits for has the payload as well: no fence, no second
trip to the memory, no flag beside the data. (NCCL's low-latency protocol works like that.) Two of
them are moved at a time, a pair, which holds one float64 or two float32.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .jit import SIMULATED, device

if SIMULATED:
    from numba import cuda

    def _bits(value: Any) -> Any:
        return value.view(f"u{value.itemsize}")

    def make_load(lanes: int) -> Any:
        """Make ``load(pointer, index)``: a tuple of so many elements from an aligned place on."""
        return lambda pointer, index: tuple(pointer[index + lane] for lane in range(lanes))

    def load_pair(mail, index):
        """Read the two words at an even index, past the first-level cache."""
        cuda.nanosleep(0)  # whoever asks in a loop must let the others run
        return mail[index], mail[index + 1]

    def store_pair(mail, index, low, high):
        """Write the two words at an even index."""
        mail[index] = low
        mail[index + 1] = high

    def bits32(value):
        """Return the bits of a float32."""
        return np.uint64(_bits(value))

    def float32_of(bits):
        """Return the float32 with these low 32 bits."""
        return np.uint32(bits & np.uint64(0xFFFFFFFF)).view(np.float32)

    def bits64(value):
        """Return the bits of a float64."""
        return _bits(value)

    def float64_of(bits):
        """Return the float64 with these bits."""
        return np.uint64(bits).view(np.float64)

else:
    from numba.cuda.extending import intrinsic

    _I32, _I64 = ir.IntType(32), ir.IntType(64)
    _FLOATS = {32: (ir.FloatType(), types.float32), 64: (ir.DoubleType(), types.float64)}
    _PAIR = ir.LiteralStructType([_I64, _I64])

    def make_load(lanes: int) -> Any:
        """Make ``load(pointer, index)``: a tuple of so many elements from an aligned place on."""

        @intrinsic
        def load(typing_context, pointer, index):
            element = pointer.dtype

            def generate(context, builder, signature, arguments):
                scalar = context.get_value_type(element)
                vector = ir.VectorType(scalar, lanes)
                address = builder.bitcast(builder.gep(*_place(arguments)), vector.as_pointer())
                loaded = builder.load(address, align=lanes * element.bitwidth // 8)
                values = [builder.extract_element(loaded, _I32(lane)) for lane in range(lanes)]
                return context.make_tuple(builder, signature.return_type, values)

            return types.UniTuple(element, lanes)(pointer, index), generate

        return load

    def _place(arguments):
        return arguments[0], [arguments[1]]

    @intrinsic
    def load_pair(typing_context, mail, index):
        """Read the two words at an even index, past the first-level cache."""

        def generate(context, builder, signature, arguments):
            address = builder.gep(*_place(arguments))
            read = ir.InlineAsm(
                ir.FunctionType(_PAIR, [address.type]),
                "ld.relaxed.gpu.global.v2.b64 {$0, $1}, [$2];", "=l,=l,l,~{memory}",
                side_effect=True,
            )  # fmt: skip
            words = builder.call(read, [address])
            values = [builder.extract_value(words, place) for place in range(2)]
            return context.make_tuple(builder, signature.return_type, values)

        return types.UniTuple(types.uint64, 2)(mail, index), generate

    @intrinsic
    def store_pair(typing_context, mail, index, low, high):
        """Write the two words at an even index."""

        def generate(context, builder, signature, arguments):
            address = builder.gep(*_place(arguments))
            write = ir.InlineAsm(
                ir.FunctionType(ir.VoidType(), [address.type, _I64, _I64]),
                "st.relaxed.gpu.global.v2.b64 [$0], {$1, $2};", "l,l,l,~{memory}",
                side_effect=True,
            )  # fmt: skip
            builder.call(write, [address, *arguments[2:]])
            return context.get_dummy_value()

        return types.void(mail, index, types.uint64, types.uint64), generate

    def _make_bits(width: int) -> Any:
        scalar, kind = _FLOATS[width]

        @intrinsic
        def bits(typing_context, value):
            def generate(context, builder, signature, arguments):
                return builder.zext(builder.bitcast(arguments[0], ir.IntType(width)), _I64)

            return types.uint64(kind), generate

        @intrinsic
        def float_of(typing_context, word):
            def generate(context, builder, signature, arguments):
                low = builder.trunc(arguments[0], ir.IntType(width))
                return builder.bitcast(low, scalar)

            return kind(types.uint64), generate

        return bits, float_of

    bits32, float32_of = _make_bits(32)
    bits64, float64_of = _make_bits(64)


@device
def post(mail, index, tag, low, high):
    """Send two payloads of 32 bits under a tag."""
    above = tag << np.uint64(32)
    store_pair(mail, index, above | low, above | high)


@device
def low_word(bits):
    """Return the low 32 of 64 bits."""
    return bits & np.uint64(0xFFFFFFFF)


@device
def arrived(pair, tag):
    """Whether both words of a pair bear the tag."""
    return (pair[0] >> np.uint64(32)) == tag and (pair[1] >> np.uint64(32)) == tag


@device
def joined(pair):
    """Return the float64 whose halves a pair holds, the low one first."""
    return float64_of((pair[1] << np.uint64(32)) | low_word(pair[0]))
