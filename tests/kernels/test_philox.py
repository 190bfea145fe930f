"""Random numbers from counters: known answers, the distributions, and compiled against plain."""

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accel.kernels.cpu import philox as compiled
from accel.kernels.cpu.jit import whole
from accel.kernels.cpu.pointers import pointer
from accel.kernels.cpu.processor import vector_bytes
from accel.kernels.reference import philox
from accel.kernels.specs import LABELS, PARAMETERS, ROWS

stats = pytest.importorskip("scipy.stats")
NAMES = ("numbers", "uniforms", "gaussians", "signs")
SEEDS = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([2**32 - 1] * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], (0xA4093822, 0x299F31D0),
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
    ids=["zeros", "ones", "pi"],
)  # fmt: skip
def test_known_answers(counter, key, expected):
    """Those of the authors' Random123."""
    words = philox.words(np.array(counter), key)
    assert " ".join(f"{word:08x}" for word in words) == expected
    many = philox.words(np.array([[counter] * 3] * 2), key)
    assert many.dtype == np.uint32
    assert (many == words).all()


def test_where_the_words_of_a_number_lie():
    """Number i is half i % 2 of block i // 2, low word first, as the convention says."""
    step, seed = 3 + (5 << 32), 7 + (11 << 32)
    four = philox.words(np.array([2, PARAMETERS, 3, 5]), (7, 11)).astype(object)
    expected = [four[0] + (four[1] << 32), four[2] + (four[3] << 32)]
    assert philox.numbers(4, 2, PARAMETERS, step, seed).tolist() == expected


@cache
def kernel(name):
    """A compiled filler that Python can call; not kept on the disk, where its code is not."""
    fill = getattr(compiled, f"fill_{name}")

    @whole
    def run(out, first, count, stream, step, seed):
        fill(pointer(out), first, count, compiled.Counter(stream, step, seed))

    return run


def filler(name):
    """A compiled filler that returns what it wrote, and nothing must be written beyond that."""
    run = kernel(name)

    def fill_array(first, count, stream, step, seed):
        out = np.full(count + 16, 77, np.uint64 if name == "numbers" else np.float64)
        run(out, first, count, stream, step, seed)
        assert (out[count:] == 77).all()
        return out[:count]

    return fill_array


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=100)
@given(
    first=st.integers(0, 2**33 - 300), count=st.integers(0, 299), stream=st.integers(0, 2),
    step=SEEDS, seed=SEEDS,
)  # fmt: skip
@example(first=2**33 - 299, count=299, stream=2, step=2**63 - 1, seed=2**63 - 1)
@example(first=0, count=0, stream=0, step=0, seed=0)
def test_compiled_numbers(name, first, count, stream, step, seed):
    """To the bit; Gaussians to 4 eps of the radius, of which the plain formula has most itself."""
    ours = filler(name)(first, count, stream, step, seed)
    plain = getattr(philox, name)(first, count, stream, step, seed)
    if name != "gaussians":
        np.testing.assert_array_equal(ours, plain)
        return
    even, odd = first - first % 2, first % 2
    pairs = philox.gaussians(even, (count + odd + 1) // 2 * 2, stream, step, seed).reshape(-1, 2)
    radius = np.repeat(np.hypot(*pairs.T), 2)[odd:][:count]
    assert np.all(np.abs(ours - plain) <= 4 * np.finfo(float).eps * radius)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_does_not_depend_on_those_made_with_it(name):
    """Vectors, rests and single numbers have the same bits."""
    whole = filler(name)(0, 101, LABELS, 9, 4)
    for first, count in [(0, 1), (1, 1), (1, 2), (3, 50), (50, 51), (100, 1)]:
        part = filler(name)(first, count, LABELS, 9, 4)
        np.testing.assert_array_equal(part, whole[first : first + count])


def test_the_compiled_gaussians_against_many_digits():
    """The logarithm's, the sine's and the cosine's own errors, near 0 and 1 too, in long double."""
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("no long double of 64 bits here")

    @whole
    def parts(u, out):
        for i in range(len(u)):
            out[i, 0] = compiled.logarithm(u[i])
            out[i, 1], out[i, 2] = compiled.cosine_and_sine(u[i])

    tiny = 2.0**-53 * (2 * np.arange(2000) + 1)
    u = np.concatenate([philox.uniforms(0, 20000, ROWS, 0, 0), tiny, 1 - tiny, 0.25 + tiny,
                        0.5 - tiny, 0.5 + tiny, 0.75 + tiny, np.sqrt(0.5) + tiny])  # fmt: skip
    out = np.empty((len(u), 3))
    parts(u, out)
    exact, eps = u.astype(np.longdouble), np.finfo(float).eps
    logs = np.log(exact)
    assert np.all(np.abs(out[:, 0] - logs) <= 2 * eps * np.abs(logs))
    pi = np.longdouble("3.14159265358979323846264338327950288")
    quarters = np.rint(4 * u)
    x = (4 * exact - quarters) * (pi / 2)
    turned = np.exp(1j * (quarters * (np.pi / 2)))
    real, imaginary = np.rint(turned.real), np.rint(turned.imag)
    cosine = real * np.cos(x) - imaginary * np.sin(x)
    sine = imaginary * np.cos(x) + real * np.sin(x)
    for ours, value in ((out[:, 1], cosine), (out[:, 2], sine)):
        assert np.all(np.abs(ours - value) <= 2 * eps * np.abs(value))


def test_the_compiled_loops_are_in_vectors():
    """In the widest ones: Philox's multiplications, and the square roots of Gaussians."""
    register = {64: "zmm", 32: "ymm"}.get(vector_bytes())
    if register is None:
        pytest.skip("vectors of another kind")
    filler("gaussians")(0, 1, ROWS, 0, 0)
    (code,) = kernel("gaussians").inspect_asm().values()
    assert re.search(f"vpmuludq.*{register}", code)
    assert re.search(f"vsqrtpd.*{register}", code)


def test_uniforms_are_within_the_interval():
    z = np.array([0, 2**12 - 1, 2**64 - 1, 2**63], np.uint64)
    assert philox.uniform(z).tolist() == [2.0**-53, 2.0**-53, 1 - 2.0**-53, 0.5 + 2.0**-53]


@pytest.mark.parametrize("n", [1, 2, 3, 1000, 2**31 - 1, 2**32 - 1])
def test_indices(n):
    z = np.concatenate([philox.numbers(0, 500, ROWS, 0, 1), np.array([0, 2**64 - 1], np.uint64)])
    assert philox.index(z, n).tolist() == [int(number) * n >> 64 for number in z]


def test_the_distributions():
    """Kolmogorov and Smirnov's test, moments, and as many signs of each kind."""
    count = 200_000
    uniform = philox.uniforms(0, count, LABELS, 1, 5)
    gaussian = philox.gaussians(0, count, LABELS, 1, 5)
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
    assert stats.kstest(gaussian, "norm").pvalue > 0.01
    assert stats.kstest(gaussian[::2], "norm").pvalue > 0.01
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        error = np.mean(gaussian**power) - moment
        assert abs(error) < 3.3 * np.sqrt(variance / count)
    signs = philox.signs(0, count, LABELS, 1, 5)
    assert set(signs) == {-1.0, 1.0}
    assert abs(signs.sum()) < 3.3 * np.sqrt(count)


@pytest.mark.parametrize("other", [
    (1, LABELS, 1, 5), (2, LABELS, 1, 5), (0, ROWS, 1, 5), (0, LABELS, 2, 5), (0, LABELS, 1, 6),
    (0, LABELS, 1 + 2**32, 5), (0, LABELS, 1, 5 + 2**32),
], ids=["next", "next but one", "stream", "step", "seed", "far step", "far seed"])  # fmt: skip
def test_independence(other):
    """Of neighbours, steps, streams and seeds: correlations of numbers and squares, and signs."""
    count = 100_000
    x, y = (philox.gaussians(first, count, *rest) for first, *rest in ((0, LABELS, 1, 5), other))
    for a, b in ((x, y), (x**2, y**2), (np.abs(x), y)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 3.5 / np.sqrt(count)
    table = np.histogram2d(stats.norm.cdf(x), stats.norm.cdf(y), bins=8, range=[[0, 1]] * 2)[0]
    assert stats.chisquare(table.ravel()).pvalue > 0.001


def test_every_bit_is_as_often_set():
    """And flips half of the time if the block, the step or the seed is one more."""
    numbers = philox.numbers(0, 20_000, ROWS, 0, 0)
    others = [philox.numbers(2, 20_000, ROWS, 0, 0), philox.numbers(0, 20_000, ROWS, 1, 0),
              philox.numbers(0, 20_000, ROWS, 0, 1)]  # fmt: skip
    for z in (numbers, *(numbers ^ other for other in others)):
        bits = np.unpackbits(z.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
        assert np.all(np.abs(bits - 0.5) < 4 * 0.5 / np.sqrt(20_000))
