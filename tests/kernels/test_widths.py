"""The CPU kernels as vectors of 128, 256 and 512 bits, each in a process that is told to use them.

The width that this process has is left to the tests themselves. A kernel is compiled for a dtype
and a length of vectors, which takes most of the time here. So what is quick has numbers of features
that fill vectors of the whole width. The slow rest has all tests of a pass, in both dtypes and with
vectors of half the width, too. Of the loops, which are made of the same passes, it has those in
float64 without random shapes or a single feature. Those of many outputs LLVM does not optimise,
which takes a fifth of the time: vectors and intrinsics are as they are emitted. Other loops it must
optimise: which products and sums are fused differs from kernel to kernel otherwise, and with it
the bits that tests compare.
"""

import platform

import pytest
from numba.core.codegen import get_host_cpu_features

from accel.kernels.cpu.jit import vector_bytes

from ..children import pytest as pytest_in_a_child
from ..children import python

#: Features of processors; then, for each width, Numba's name of a processor and its features.
SSE4 = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16"
AVX2 = SSE4 + ",+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe"
AVX512 = AVX2 + ",+avx512f,+avx512cd,+avx512bw,+avx512dq,+avx512vl"
PROCESSORS = {16: ("generic", ""), 32: ("x86-64-v3", AVX2), 64: ("x86-64-v4", AVX512)}

PASSES = ["more_rows_than_a_block", "gram", "gram_path_is_the_direct_pass"]
PASSES += ["hessian_is_the_derivative_of_the_gradient"]
QUICK = ["test_powers.py", "test_factor_chain.py", *(f"test_lp_loss.py::test_{t}" for t in PASSES)]
QUICK += ["test_curvature.py::test_whole_vectors_and_more_rows_than_a_tile"]
QUICK += ["test_diagonal.py::test_is_the_direct_pass"]
LONG = ["test_lp_loss.py", "test_accuracy.py", "test_loop.py", "test_loop_models.py"]
LONG += ["test_many_maps.py::test_few_maps_have_the_bits_of_many"]
LONG += [f"test_diagonal.py::test_{t}" for t in ("error_bounds", "every_rule_depth_and_output")]
WIDE = ["test_wide.py::test_every_form", "test_loop_models.py"]
WIDE += ["test_entries.py::test_every_shape_and_power"]
WIDE += ["test_measurements.py::test_measurements_of_a_network"]
CHOSEN = "not reference and not (test_loop_models and many)"
CHOSEN += " and not (test_loop and (random_shapes or float32 or feature))"
MANY = "not reference and (every_form or many or test_entries or test_measurements)"
#: Not kept either: nobody is to load them in place of optimised ones.
UNOPTIMISED = {"NUMBA_OPT": "0", "ACCEL_CACHE": "0"}


def run(width, files, chosen=CHOSEN, **variables):
    name, features = PROCESSORS[width]
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("vectors of other widths are those of x86")
    if width == vector_bytes():
        pytest.skip("all other tests of this process have vectors of this width")
    missing = set(filter(None, features.split(","))) - set(get_host_cpu_features().split(","))
    if missing:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    processor = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    code = "from accel.kernels.cpu.jit import vector_bytes; print(vector_bytes())"
    assert int(python("-c", code, **processor).stdout) == width
    paths = [f"tests/kernels/{file}" for file in files]
    pytest_in_a_child(*paths, "-k", chosen, limit=600, **processor, **variables)


@pytest.mark.parametrize("width", PROCESSORS)
def test_passes_and_chains(width):
    run(width, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("width", PROCESSORS)
def test_loops(width):
    run(width, LONG)


@pytest.mark.slow
@pytest.mark.parametrize("width", PROCESSORS)
def test_many_outputs(width):
    run(width, WIDE, MANY, **UNOPTIMISED)
