"""The step from residuals to slopes and powers: every kind of p, every size of r, every place."""

import re
from functools import cache

import numpy as np
import pytest
from llvmlite import binding as llvm
from llvmlite import ir

from accel.kernels.cpu import any_power, differentiate, jit, lp_loss, powers
from accel.kernels.cpu.simd import Emitter, at
from accel.kernels.specs import Loss

from .exact import LONG, needs_long_double

DTYPES = [np.float32, np.float64]
POWERS = [1.0, 1.0001, 1.1, 1.5, 2.0, 2.2, 2.5, 3.0, 3.3, 3.5, 4.0, 4.5, 6.0, 8.0, 12.0, 30.0, 1e6]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]


@pytest.fixture(autouse=True)
def overflow_is_expected():
    with np.errstate(all="ignore"):
        yield


def lanes_of(dtype):
    return jit.vector_bytes() // np.dtype(dtype).itemsize


@cache
def compiled(dtype):
    differentiated = differentiate.make_differentiate(np.dtype(dtype), lanes_of(dtype))

    @jit.whole
    def step(residuals, targets, losses, p):
        rows = residuals.size // losses.size
        for c in range(losses.size):
            losses[c] = differentiated(at(residuals, c * rows), at(targets, 0), rows, p)

    return step


def step(predictions, targets, columns, p):
    """Slopes and sums of so many columns that lie one behind the other, with the same targets."""
    slopes, losses = predictions.copy(), np.zeros(columns)
    compiled(predictions.dtype.type)(slopes, targets, losses, float(p))
    return slopes, losses


def together_and_alone(r, p):
    """Slopes of a column, slopes of columns with one row each, and every single power."""
    zeros = np.zeros_like(r)
    together, _ = step(r, zeros, 1, p)
    return together, *step(r, zeros, r.size, p)


def sizes(dtype):
    """Numbers of all sizes, and many near 1 and near the ends."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    low, high = np.log2(float(info.smallest_subnormal)), np.log2(float(info.max))
    ends = [np.nextafter(dtype(at), dtype(to)) for at in (1, 2**-0.5, 2**0.5) for to in (0, 2)]
    ends += [info.smallest_subnormal, info.smallest_normal, info.max]
    r = np.concatenate([
        np.exp2(rng.uniform(low, high, 20_000).astype(LONG)),
        rng.uniform(0.5, 2, 10_000),
        1 + 1e-4 * rng.standard_normal(1_000),
        np.ldexp(LONG(1), np.arange(low, high).astype(int)),
        ends,
    ]).astype(dtype)  # fmt: skip
    return r[(r > 0) & np.isfinite(r)] * rng.choice([-1, 1], len(r)).astype(dtype)


def hold(got, expected, relative, dtype):
    """Hold results to a relative error; what cannot be a number of the dtype is inf or 0."""
    info = np.finfo(dtype)
    top, tiny = LONG(info.max), LONG(info.smallest_subnormal)
    finite = np.isfinite(got)
    assert np.all(expected[~finite] * (1 + relative) > top)
    error = abs(got[finite].astype(LONG) - expected[finite])
    assert np.all(error <= relative * expected[finite] + tiny)


@needs_long_double
@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_all_sizes_are_within_the_bound(dtype, p):
    r = sizes(dtype)
    slopes, _, values = together_and_alone(r, p)
    assert np.array_equal(np.sign(slopes), np.where(slopes == 0, 0, np.sign(r)))
    eps, size = LONG(np.finfo(dtype).eps), abs(r).astype(LONG)
    hold(abs(slopes), size ** LONG(p - 1), (1.5 + 0.75 * (p - 1)) * eps, dtype)
    hold(values, size ** LONG(p), (2 + 0.75 * (p - 1)) * eps, dtype)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_infinities_and_nan(dtype, p):
    r = np.array(SPECIAL * 5, dtype)
    slopes, alone, values = together_and_alone(r, p)
    np.testing.assert_array_equal(values, abs(r).astype(np.float64))  # each is its own power
    bounded = np.sign(r) if p == 1.0 else r
    np.testing.assert_array_equal(slopes, bounded)
    np.testing.assert_array_equal(alone, bounded)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_place_or_sign(dtype, p):
    r = sizes(dtype)[-3001:]
    together, alone, values = together_and_alone(r, p)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(step(r[::-1].copy(), 0 * r, 1, p)[0][::-1], together)
    mirrored, _, same_values = together_and_alone(-r, p)
    np.testing.assert_array_equal(mirrored, -together)
    np.testing.assert_array_equal(same_values, values)


@pytest.mark.parametrize("p", [1.0, 2.2, 2.5, 4.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_are_added_up_in_the_order_that_is_promised(dtype, p):
    rng, lanes = np.random.default_rng(2), lanes_of(dtype)
    for rows in (1, 2, lanes - 1, lanes, lanes + 1, 3 * lanes, 7 * lanes + 3):
        r = rng.standard_normal(rows).astype(dtype)
        _, _, values = together_and_alone(r, p)
        sums = np.zeros(lanes)
        for i, value in enumerate(values):
            sums[i % lanes] += value
        while sums.size > 1:
            sums = sums[::2] + sums[1::2]
        _, (total,) = step(r, np.zeros_like(r), 1, p)
        assert total == sums[0]


@pytest.mark.parametrize("p", [2.2, 2.5, 4.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_rows_and_nothing_beyond_them(dtype, p):
    rng = np.random.default_rng(3)
    for rows in range(1, 3 * lanes_of(dtype) + 2):
        predictions, targets = rng.standard_normal((2, rows)).astype(dtype)
        room = np.full(rows + 64, dtype(7))
        room[32 : 32 + rows] = predictions
        losses = np.zeros(1)
        compiled(dtype)(room[32:-32], targets, losses, p)
        expected, totals = step(predictions - targets, np.zeros(rows, dtype), 1, p)
        np.testing.assert_array_equal(room[32:-32], expected)
        np.testing.assert_array_equal(losses, totals)
        assert np.all(room[:32] == 7)
        assert np.all(room[-32:] == 7)


@needs_long_double
@pytest.mark.parametrize("p", [1.0001, 1.5, 1.9, 2.0, 2.2, 3.0, 4.0, 7.5, 30.0])
def test_weights_of_the_hessian(p):
    tiny = np.finfo(np.float64).smallest_subnormal
    for r in [0.0, 1.0, -1.0, tiny, 3e-310, -1e-200, 0.7, 123.4, 1e9, 1e150, 1e300, np.inf, np.nan]:
        one = np.ones((1, 1))
        H = lp_loss.hessian(one, np.zeros(1), np.array([r]), Loss(p, 1 / (p * (p - 1))))
        if r in (0.0, np.inf) or np.isnan(r):
            expected = 1.0 if p == 2.0 else r if p > 2.0 or np.isnan(r) else 0.0
            np.testing.assert_array_equal(H[0, 0], expected)
        else:
            weight = abs(LONG(r)) ** LONG(p - 2)
            relative = (8 + abs(p - 2)) * LONG(2.0) ** -52
            hold(H[0], np.array([weight]), relative, np.float64)


def text_of(kernel, kind):
    (text,) = getattr(kernel, f"inspect_{kind}")().values()
    return text


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_number_is_computed_by_itself(dtype):
    """``pow`` of a library, or ``fma`` in software, would be called number by number."""
    step(np.ones(3, dtype), np.zeros(3, dtype), 1, 2.2)
    code = text_of(compiled(dtype), "asm")
    assert not re.search(r"\b(pow|exp2?|log2?|fma|ldexp|sqrt)f?\b", code)
    assert not re.search(r"\bv?sqrts[sd]\b", code)  # of x86
    assert not re.search(r"@llvm\.(pow|exp|log)", text_of(compiled(dtype), "llvm"))


def emitted(dtype, lanes):
    """A module with the step for every kind of p, for whole vectors and for the first lanes."""
    module, double = ir.Module(), ir.DoubleType()
    pointer = Emitter(None, None, np.dtype(dtype), lanes).scalar.as_pointer()
    signature = ir.FunctionType(ir.VoidType(), [pointer, pointer, double, ir.IntType(64)])
    function = ir.Function(module, signature, "step")
    builder = ir.IRBuilder(function.append_basic_block())
    emit = Emitter(None, builder, np.dtype(dtype), lanes)
    r, out, p, count = function.args

    def body(step):
        for memory in (emit, differentiate.FirstLanes(emit, count)):
            slope, value = step(builder, memory.load(r))
            memory.store(slope, r)
            memory.store(value, out)

    powers.by_kind(builder, emit.vector, p, body)
    builder.ret_void()
    return str(module)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_code_is_vector_code_on_arm_as_well(dtype):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite has no code generator for aarch64")
    module = llvm.parse_assembly(emitted(dtype, 16 // np.dtype(dtype).itemsize))
    machine = target.create_target_machine(opt=3)
    module.triple = machine.triple
    code = machine.emit_assembly(module)
    vectors = {np.float32: "4s", np.float64: "2d"}[dtype]
    assert not re.search(r"\bbl\b", code)
    for operation in ("fmla", "fmul", "fsqrt", "shl"):
        assert re.search(rf"\b{operation}\s+v\d+\.{vectors}", code)
    assert not re.search(r"\b(fmadd|fsqrt|fdiv)\s+[sd]\d", code)  # on single numbers


def test_coefficients_are_numbers_of_their_format():
    for form, dtype in ((any_power._FLOAT32, np.float32), (any_power._FLOAT64, np.float64)):
        for value in (*form.log, *form.exp):
            assert float(str(dtype(value))) == value
