"""PTX that Numba has no function for: wide loads, asynchronous copies, messages between blocks.

An asynchronous copy from global to shared memory passes no register: a thread starts some,
``commit`` makes a group of them, and ``wait`` returns once all groups but the newest few have
arrived. The other threads of the block see them after the next barrier. (Compute capability 8.0 and
later.)

A message is a word of 64 bits, 32 of payload under a tag of 32. Such a word is written and read in
one piece, so that a thread that reads the tag it waits for has read the payload as well: there is
no fence, no second read and no flag beside the data. (NCCL's low-latency protocol works like that.)
Two words are moved at a time, a pair, which holds one float64 or two float32.
"""

import math
from contextvars import ContextVar
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

    def store(array, index, value):
        """Write an element, without Numba's check for a negative index."""
        array[index] = value

    def opaque(index):
        """Return the index, opaque to the compiler: nothing computed from it leaves a loop."""
        return index

    def product_of(a, b):
        """Return a product, rounded: never part of a fused multiply-add."""
        return a * b

    def cospi(x):
        """Return the cosine of pi x."""
        return math.cos(math.pi * x)

    def sinpi(x):
        """Return the sine of pi x."""
        return math.sin(math.pi * x)

    #: Groups of copies that the thread has under way, the last one open. (Threads and greenlets
    #: have contexts of their own.) Until a group has arrived, NaN is where it goes.
    _groups: ContextVar[list[list[Any]]] = ContextVar("groups")

    def make_copy(lanes: int) -> Any:
        """Make ``copy(shared, at, pointer, index, there)``: of so many elements, or of zeros."""

        def copy(shared, at, pointer, index, there):
            groups = _groups.get(None) or [[]]
            _groups.set(groups)
            for lane in range(lanes):
                shared[at + lane] = np.nan
                value = pointer[index + lane] if there else 0.0
                groups[-1].append((shared, at + lane, value))

        return copy

    def commit():
        """End a group of copies."""
        groups = _groups.get(None) or [[]]
        _groups.set([*groups, []])

    def make_wait(newest: int) -> Any:
        """Make ``wait()``, for all groups of copies but so many."""

        def wait():
            groups = _groups.get([[]])
            arrived = len(groups) - 1 - newest
            for group in groups[: max(arrived, 0)]:
                for shared, at, value in group:
                    shared[at] = value
            _groups.set(groups[max(arrived, 0) :])

        return wait

    def load_pair(mail, index):
        """Read the two words at an even index, past the first-level cache."""
        cuda.nanosleep(0)  # a thread that polls must let the others run
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

    # Of multiples of pi: no large argument has to be reduced, for which others keep local memory.
    from numba.cuda.libdevice import cospi, sinpi  # noqa: F401 - for the kernels

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
                address = _element(context, builder, pointer, *arguments)
                address = builder.bitcast(address, vector.as_pointer())
                loaded = builder.load(address, align=lanes * element.bitwidth // 8)
                values = [builder.extract_element(loaded, _I32(lane)) for lane in range(lanes)]
                return context.make_tuple(builder, signature.return_type, values)

            return types.UniTuple(element, lanes)(pointer, index), generate

        return load

    def _element(context, builder, kind, array, index):
        """Return the address of an element, of a shared array or after a pointer."""
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, array).data
        return builder.gep(array, [index])

    @intrinsic
    def store(typing_context, array, index, value):
        """Write an element, without Numba's check for a negative index."""

        def generate(context, builder, signature, arguments):
            builder.store(arguments[2], _element(context, builder, array, *arguments[:2]))
            return context.get_dummy_value()

        return types.void(array, types.int64, array.dtype), generate

    @intrinsic
    def opaque(typing_context, index):
        """Return the index, opaque to the compiler: nothing computed from it leaves a loop."""

        def generate(context, builder, signature, arguments):
            kind = ir.FunctionType(_I64, [_I64])
            move = ir.InlineAsm(kind, "mov.u64 $0, $1;", "=l,l", side_effect=True)
            return builder.call(move, arguments)

        return types.int64(types.int64), generate

    @intrinsic
    def product_of(typing_context, a, b):
        """Return a product, rounded: never part of a fused multiply-add."""

        def generate(context, builder, signature, arguments):
            scalar, letter = _FLOATS[a.bitwidth][0], {32: "f", 64: "d"}[a.bitwidth]
            kind = ir.FunctionType(scalar, [scalar, scalar])
            text, places = f"mul.rn.f{a.bitwidth} $0, $1, $2;", f"={letter},{letter},{letter}"
            return builder.call(ir.InlineAsm(kind, text, places), arguments)

        return a(a, a), generate

    def make_copy(lanes: int) -> Any:
        """Make ``copy(shared, at, pointer, index, there)``: of so many elements, or of zeros."""

        @intrinsic
        def copy(typing_context, shared, at, pointer, index, there):
            size = lanes * pointer.dtype.bitwidth // 8
            cached = "cg" if size == 16 else "ca"

            def generate(context, builder, signature, arguments):
                to = _element(context, builder, shared, *arguments[:2])
                to = builder.addrspacecast(to, to.type.pointee.as_pointer(3))
                source = _element(context, builder, pointer, *arguments[2:4])
                wanted = builder.select(arguments[4], _I32(size), _I32(0))
                start = ir.InlineAsm(
                    ir.FunctionType(ir.VoidType(), [to.type, source.type, _I32]),
                    f"cp.async.{cached}.shared.global [$0], [$1], {size}, $2;", "l,l,r,~{memory}",
                    side_effect=True,
                )  # fmt: skip
                builder.call(start, [to, source, wanted])
                return context.get_dummy_value()

            return types.void(shared, types.int64, pointer, types.int64, types.boolean), generate

        return copy

    def _make_order(order: str) -> Any:
        @intrinsic
        def give(typing_context):
            def generate(context, builder, signature, arguments):
                kind = ir.FunctionType(ir.VoidType(), [])
                builder.call(ir.InlineAsm(kind, order, "~{memory}", side_effect=True), [])
                return context.get_dummy_value()

            return types.void(), generate

        return give

    commit = _make_order("cp.async.commit_group;")

    def make_wait(newest: int) -> Any:
        """Make ``wait()``, for all groups of copies but so many."""
        return _make_order(f"cp.async.wait_group {newest};")

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
