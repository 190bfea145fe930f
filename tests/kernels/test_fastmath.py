"""Nothing is compiled under the assumption that NaN and inf do not occur.

``tests/accel/test_determinism.py`` looks into what LLVM made of it.
"""

from pathlib import Path

from accel.kernels import cpu
from accel.kernels.cpu import jit

KERNELS = Path(cpu.__file__).parents[1]


def test_the_cpu_kernels_allow_sums_in_another_order_and_no_more():
    assert set(jit.FASTMATH) == {"reassoc", "contract", "nsz"}


def test_the_cuda_kernels_allow_nothing():
    for path in KERNELS.joinpath("cuda").glob("*.py"):
        text = path.read_text()
        assert "fastmath" not in text
        assert "approx" not in text
        assert "ftz" not in text
