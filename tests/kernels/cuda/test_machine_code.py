"""CUDA kernels compiled to PTX and machine code, with no driver: registers, spills, wide loads.

ptxas is that of the package nvidia-cuda-nvcc, of the same version as the compiler behind Numba.
``ACCEL_NVVM``, the path of a libnvvm, puts another one behind it.
"""

import ctypes
import importlib.util
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from accel.kernels.specs import ADAM, END_TO_END, GRADIENT_DESCENT, GROUP_RMSPROP, MOMENTUM

from ... import children
from .modules import cuda

pytestmark = pytest.mark.slow

F4, F8 = np.dtype(np.float32), np.dtype(np.float64)
CAPABILITIES = [(8, 0), (9, 0), (10, 0)]


def ptxas():
    """Path of ptxas; None if it is not installed."""
    package = importlib.util.find_spec("nvidia")
    for folder in package.submodule_search_locations if package else ():
        for path in Path(folder).glob("*/bin/ptxas"):
            return path
    return None


if ptxas() is None:
    pytest.skip("not installed: nvidia-cuda-nvcc", allow_module_level=True)

NVVM = os.environ.get("ACCEL_NVVM")
if NVVM:
    ctypes.CDLL(NVVM, ctypes.RTLD_GLOBAL)  # Numba looks for none where there is one already


def rows(dtype, d, maps, code=4):
    return cuda.lp_loss.make_rows(dtype, code, cuda.lp_loss.rows_shape(d, maps, dtype))


def resident(
    dtype, d, k, kind, code=4, form="direct", spills=True, inside=True, structure="product",
    scheduled=False,
):  # fmt: skip
    """The kernel with the most rows in registers that a plan would ask for."""

    def layout_of(count):
        layout = cuda.resident_layout.ResidentLayout(d, k, count, 8, kind, form, spills, inside)
        return layout._replace(structure=structure, scheduled=scheduled)

    if form == "diagonal":
        return cuda.resident.make_resident(dtype, code, layout_of(0)._replace(spills=False))
    fitting = cuda.launch.fitting_rows(layout_of, dtype, code)
    return cuda.resident.make_resident(dtype, code, layout_of(fitting[-1]))


def tiles(dtype, *shape, code=4):
    return cuda.tiles.make_tiles(dtype, code, cuda.tiles.TileShape(*shape))


ANY, MIXED = cuda.updates.ANY, cuda.updates.MIXED
KERNELS = {
    "gas, float32": lambda: resident(F4, 128, 1, GRADIENT_DESCENT, spills=False),
    "gas, float64": lambda: resident(F8, 128, 1, GRADIENT_DESCENT, spills=False),
    "rows in shared memory too": lambda: resident(F8, 128, 1, MOMENTUM),
    "any rules, any power": lambda: resident(F8, 128, 1, ANY, code=0),
    "any rules": lambda: resident(F8, 128, 1, ANY),
    "group RMSProp": lambda: resident(F8, 128, 1, GROUP_RMSPROP),
    "group RMSProp, float32, several outputs": lambda: resident(F4, 128, 4, GROUP_RMSPROP),
    "any rules, group RMSProp too": lambda: resident(F8, 128, 1, MIXED),
    "outside, Adam": lambda: resident(F8, 128, 1, ADAM, inside=False),
    "end to end": lambda: resident(F4, 128, 1, END_TO_END),
    "several outputs": lambda: resident(F8, 40, 4, GRADIENT_DESCENT),
    "several outputs, float32": lambda: resident(F4, 128, 4, GRADIENT_DESCENT),
    "long rows": lambda: resident(F4, 480, 1, GRADIENT_DESCENT, code=0),
    "Gram": lambda: resident(F8, 128, 1, GRADIENT_DESCENT, code=2, form="gram"),
    "diagonal": lambda: resident(F8, 128, 1, GRADIENT_DESCENT, code=2, form="diagonal"),
    "diagonal, any rules, outputs": lambda: resident(F4, 100, 20, ANY, code=2, form="diagonal"),
    "streamed rows, float32": lambda: rows(F4, 128, 1),
    "streamed rows, float64": lambda: rows(F8, 128, 1),
    "streamed rows, four maps": lambda: rows(F8, 128, 4),
    "streamed rows, any power": lambda: rows(F8, 512, 1, code=0),
    # What tiles_shape finds for a million rows on an H100.
    "tiles, float32": lambda: tiles(F4, 128, 1, 4, 8, 8, 1, 32, 4, 3, 2),
    "tiles, float64": lambda: tiles(F8, 128, 1, 2, 8, 8, 2, 32, 4, 3, 1),
    "tiles, odd rows": lambda: tiles(F8, 17, 1, 1, 4, 2, 2, 8, 2, 2, 2),
    "tiles, long rows": lambda: tiles(F4, 512, 1, 4, 8, 4, 2, 64, 8, 2, 1),
    "tiles, several outputs, any power": lambda: tiles(F4, 17, 64, 1, 8, 8, 1, 8, 2, 3, 2, code=0),
    "epilogue, float32": lambda: cuda.streaming.make_epilogue(F4, 1, "direct"),
    "epilogue, float64, three outputs": lambda: cuda.streaming.make_epilogue(F8, 3, "direct"),
    "epilogue, diagonal": lambda: cuda.streaming.make_epilogue(F8, 100, "diagonal"),
    "epilogue, group RMSProp": lambda: cuda.streaming.make_epilogue(F8, 3, "direct", MIXED),
    "blocks, residuals": lambda: cuda.blocks_pass.make_residuals(F8, 4),
    "blocks, residuals, any power": lambda: cuda.blocks_pass.make_residuals(F4, 0),
    "blocks, gradients": lambda: cuda.blocks_pass.make_gradients(F8, False),
    "blocks, Gram": lambda: cuda.blocks_pass.make_gradients(F8, True),
    "entries": lambda: cuda.entries.make_entries(F8, 2),
    "entries, any power": lambda: cuda.entries.make_entries(F4, 0),
    "entries, logistic": lambda: cuda.entries.make_entries(F8, "logistic"),
    "any rules, scheduled": lambda: resident(F8, 128, 1, ANY, scheduled=True),
    "momentum, scheduled, float32": lambda: resident(F4, 128, 1, MOMENTUM, scheduled=True),
    "follow": lambda: cuda.schedules.make_follow(F8),
    "tabulate": lambda: cuda.schedules.make_tabulate(F4),
    "power difference": lambda: resident(F8, 128, 1, ANY, structure="power_difference"),
    "power difference, float32": lambda: resident(
        F4, 128, 1, GRADIENT_DESCENT, spills=False, structure="power_difference"
    ),
    "hadamard, Adam": lambda: resident(F8, 128, 1, ADAM, structure="hadamard"),
    "epilogue, hadamard, group RMSProp": lambda: cuda.streaming.make_epilogue(
        F8, 1, "direct", MIXED, "hadamard"
    ),
    "publish, power difference": lambda: cuda.streaming.make_publish(F8, 1, "power_difference"),
    "publish, power difference, float32": lambda: cuda.streaming.make_publish(
        F4, 1, "power_difference"
    ),
    # Of the losses one without functions, one with and one of a margin in nearly every sort; the
    # others at least once.
    "huber": lambda: resident(F8, 128, 1, GRADIENT_DESCENT, code="huber"),
    "logcosh": lambda: resident(F4, 128, 1, GRADIENT_DESCENT, code="logcosh"),
    "logcosh, several outputs": lambda: resident(F8, 40, 4, GRADIENT_DESCENT, code="logcosh"),
    "logistic": lambda: resident(F8, 128, 1, GRADIENT_DESCENT, code="logistic"),
    "logistic, float32": lambda: resident(F4, 480, 1, ADAM, code="logistic"),
    "exponential": lambda: resident(F8, 128, 1, ANY, code="exponential"),
    "streamed rows, huber": lambda: rows(F4, 128, 1, code="huber"),
    "streamed rows, pinball": lambda: rows(F8, 17, 3, code="pinball"),
    "streamed rows, logcosh": lambda: rows(F8, 128, 4, code="logcosh"),
    "streamed rows, logistic, float32": lambda: rows(F4, 128, 4, code="logistic"),
    "streamed rows, logistic": lambda: rows(F8, 17, 1, code="logistic"),
    "tiles, expectile": lambda: tiles(F8, 128, 1, 2, 8, 8, 2, 32, 4, 3, 1, code="expectile"),
    "tiles, logcosh": lambda: tiles(F8, 128, 1, 2, 8, 8, 2, 32, 4, 3, 1, code="logcosh"),
    "tiles, logistic": lambda: tiles(F8, 128, 1, 2, 8, 8, 2, 32, 4, 3, 1, code="logistic"),
    "tiles, logistic, float32": lambda: tiles(F4, 128, 1, 4, 8, 8, 1, 32, 4, 3, 2, code="logistic"),
    "blocks, huber": lambda: cuda.blocks_pass.make_residuals(F8, "huber"),
    "blocks, logcosh": lambda: cuda.blocks_pass.make_residuals(F8, "logcosh"),
    "blocks, logistic": lambda: cuda.blocks_pass.make_residuals(F4, "logistic"),
    "blocks, products": lambda: cuda.blocks_pass.make_residuals(F8, "coupled"),
    "products, logistic": lambda: cuda.lp_loss.make_slopes(F8, "logistic"),
    "coupled, float32": lambda: cuda.losses.make_coupled(F4, True),
    "coupled, by rows": lambda: cuda.losses.make_coupled(F8, False),
    "wide, enter": lambda: cuda.wide.make_enter_all(F8, "direct"),
    "wide, enter, diagonal": lambda: cuda.wide.make_enter_all(F4, "diagonal"),
    "wide, verdict": lambda: cuda.wide.make_verdict(F8, "direct"),
    "wide, descend": lambda: cuda.wide.make_descend_wide(F8),
    "wide, descend, float32": lambda: cuda.wide.make_descend_wide(F4),
    "wide, update": lambda: cuda.wide.make_update_wide(F8),
    "wide, squares": lambda: cuda.wide_groups.make_squares(F8),
    "wide, means": lambda: cuda.wide_groups.make_means(F8),
    "wide, move": lambda: cuda.wide_groups.make_move_wide(F4),
    "wide, multiply": lambda: cuda.wide.make_multiply_wide(F8),
    "gather": lambda: cuda.batches.make_gather(F4, 1, 32, "plain"),
    "gather, noise": lambda: cuda.batches.make_gather(F8, 3, 32, "gaussians"),
    "gather, signs": lambda: cuda.batches.make_gather(F4, 1, 8, "signs"),
    "noise on all": lambda: cuda.batches.make_gather(F4, 1, 0, "gaussians"),
    "epilogue, a look": lambda: cuda.streaming.make_epilogue(
        F8, 1, "direct", ANY, "product", "look"
    ),
    "epilogue, batch": lambda: cuda.streaming.make_epilogue(
        F8, 1, "direct", ANY, "product", "batch"
    ),
    "wide, verdict, a look": lambda: cuda.wide.make_verdict(F8, "direct", "look"),
    "wide, verdict, batch": lambda: cuda.wide.make_verdict(F8, "direct", "batch"),
    "noise": lambda: cuda.noise.make_disturb(F4),
    "noise, one step": lambda: cuda.updates._make_noise_kernel(F8),
}
#: Compiled for every compute capability; the others for 9.0 alone, to save time.
EVERYWHERE = [
    "gas, float32", "gas, float64", "several outputs, float32", "streamed rows, float32",
    "streamed rows, four maps", "tiles, float32", "tiles, float64", "tiles, odd rows",
    "tiles, long rows", "epilogue, float32", "blocks, residuals", "entries", "wide, enter",
    "wide, descend", "wide, update", "logcosh", "tiles, logistic, float32", "coupled, float32",
    "gather, noise", "noise",
]  # fmt: skip
CASES = [
    pytest.param(name, cc, id=f"{name}, sm_{cc[0]}{cc[1]}")
    for name in KERNELS
    for cc in CAPABILITIES
    if cc == (9, 0) or name in EVERYWHERE
]
#: Other compilers that lie about here, in CUDA's usual places.
COMPILERS = sorted({path.resolve() for path in Path("/usr/local").glob("cuda*/**/libnvvm.so.*")})


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """``compiled(kernel, cc)``: its PTX, and what ptxas says of it."""

    def compile_for(kernel, cc):
        # Numba asks for the device in use when a kernel calls a device function.
        device = SimpleNamespace(compute_capability=cc)
        monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: device)
        ptx, path = kernel.ptx(cc), tmp_path / "kernel.ptx"
        path.write_text(ptx)
        arguments = [f"-arch=sm_{cc[0]}{cc[1]}", path, "-o", tmp_path / "kernel.cubin"]
        return ptx, children.run(ptxas(), "-v", *arguments).stderr

    return compile_for


@pytest.mark.parametrize(("name", "cc"), CASES)
def test_no_spills(compiled, name, cc):
    kernel = KERNELS[name]()
    ptx, said = compiled(kernel, cc)
    print(name, cc, said)  # shown with pytest -rP
    assert f".target sm_{cc[0]}{cc[1]}" in ptx
    # Arithmetic is IEEE's, down to the numbers below the normal ones.
    assert not re.search(r"\b(add|sub|mul|fma|div|sqrt)\.\S*(ftz|approx|full)", ptx)
    if NVVM:
        with open("/proc/self/maps") as maps:
            assert {line.split()[-1] for line in maps if "libnvvm" in line} == {NVVM}
    spilled = [int(size) for size in re.findall(r"(\d+) bytes (?:stack frame|spill)", said)]
    assert spilled
    assert not any(spilled), said
    registers = int(re.search(r"Used (\d+) registers", said)[1])
    assert registers * cuda.jit.THREADS * kernel.blocks <= 64 * 1024


@pytest.mark.skipif(bool(NVVM), reason="within such a test")
@pytest.mark.skipif(not COMPILERS, reason="no CUDA toolkit in /usr/local")
@pytest.mark.parametrize("nvvm", COMPILERS, ids=str)
def test_no_spills_by_another_compiler(nvvm):
    """For sm_100 NVVM 13.0 unrolls less than 13.5: then arrays would not be registers."""
    chosen = ["-k", "test_no_spills and sm_100"]
    done = children.pytest(__file__, *chosen, limit=300, ACCEL_NVVM=str(nvvm))
    count = sum(case.id.endswith("sm_100") for case in CASES)
    assert re.search(rf"\b{count} passed", done.stdout), done.stdout


def test_machine_code_without_a_driver(monkeypatch, tmp_path):
    """nvJitLink makes it; the disk keeps it; a damaged file is made anew."""
    monkeypatch.setattr(cuda.jit, "_folder", lambda: tmp_path)
    device = SimpleNamespace(compute_capability=(9, 0))
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: device)
    kernel = cuda.updates._make_kernel(F4)
    code = kernel.machine_code((9, 0))
    assert code.startswith(b"\x7fELF")
    (path,) = tmp_path.iterdir()
    compiled = []
    monkeypatch.setattr(cuda.jit, "link", lambda ptx, cc: compiled.append(cc) or b"new")
    assert kernel.machine_code((9, 0)) == code
    assert not compiled
    path.write_bytes(path.read_bytes()[:-1])
    assert kernel.machine_code((9, 0)) == b"new"
    assert compiled == [(9, 0)]
    assert kernel.machine_code((9, 0)) == b"new"
    assert len(list(tmp_path.iterdir())) == 1


def test_nvjitlink_says_what_is_wrong():
    with pytest.raises(RuntimeError, match="nvJitLink: "):
        cuda.jit.link(".version 8.0 nonsense", (9, 0))


def test_the_streaming_pass_reads_wide_and_without_branches(compiled):
    ptx, _ = compiled(rows(F4, 128, 1), (9, 0))
    loop = max(re.split(r"^\$L", ptx, flags=re.MULTILINE), key=lambda part: part.count("v4.f32"))
    assert len(re.findall(r"ld\.global\.v4\.f32", loop)) == 8
    first_sum = loop.index("shfl.sync")
    assert loop[:first_sum].count("ld.global.v4.f32") == 8  # all before the first is needed
    assert len(re.findall(r"^\s*@?!?%?\w*\s*bra", loop, flags=re.MULTILINE)) <= 1


@pytest.mark.parametrize(("name", "operation", "count"), [
    ("tiles, float32", "fma.rn.f32", 128), ("tiles, float64", "fma.rn.f64", 64),
])  # fmt: skip
def test_the_products_of_a_tile_read_wide_and_seldom(compiled, name, operation, count):
    """Both loops: twelve vectors of 16 bytes from shared memory for 4 x 8 x 4 or x 2 products."""
    ptx, _ = compiled(KERNELS[name](), (9, 0))
    loops = [part for part in re.split(r"^\$L", ptx, flags=re.MULTILINE) if "bra" in part]
    products = [part for part in loops if part.count(operation) >= count]
    assert len(products) == 2
    for part in products:
        assert part.count(operation) == count
        assert len(re.findall(r"ld\.shared\.v[24]\.f(32|64)", part)) == 12
        assert ".local" not in part


@pytest.mark.parametrize(("name", "operation"), [
    ("wide, multiply", "fma.rn.f64"), ("wide, descend, float32", "fma.rn.f32"),
])  # fmt: skip
def test_the_products_of_blocks_read_half_as_often_as_they_multiply(compiled, name, operation):
    """From shared memory: four elements of either factor for sixteen products."""
    ptx, _ = compiled(KERNELS[name](), (9, 0))
    parts = re.split(r"^\$L", ptx, flags=re.MULTILINE)
    products = [part for part in parts if operation in part and "ld.shared" in part]
    assert products
    for part in products:
        assert part.count(operation) == 2 * part.count("ld.shared")
    assert ".local" not in ptx


@pytest.mark.parametrize("name", [
    "publish, power difference", "publish, power difference, float32",
])  # fmt: skip
def test_the_difference_of_equal_powers_is_zero(compiled, name):
    """No product is fused with the subtraction: one of them would not be rounded.

    ptxas leaves ``mul.rn`` alone, and fuses what has no rounding of its own.
    """
    ptx, _ = compiled(KERNELS[name](), (9, 0))
    assert "fma.rn.f" not in ptx
    free = set(re.findall(r"\bmul\.f(?:32|64)\s+(%\w+),", ptx))
    differences = re.findall(r"\bsub\.f(?:32|64)\s+%\w+, (%\w+), (%\w+);", ptx)
    assert free
    assert differences
    assert not free.intersection(sum(differences, ())), differences


def test_the_resident_loop_keeps_its_rows_in_registers(compiled):
    ptx, _ = compiled(KERNELS["gas, float32"](), (9, 0))
    assert ".local" not in ptx
    assert "ld.relaxed.gpu.global.v2.b64" in ptx
    assert "st.relaxed.gpu.global.v2.b64" in ptx
    assert "atom." not in ptx


@pytest.mark.parametrize("name", ["gas, float64", "streamed rows, float64", "epilogue, float32"])
def test_a_launch_passes_what_the_kernel_takes(compiled, name):
    """As many words as there are parameters, by the same rule for named tuples."""
    kernel = KERNELS[name]()
    ptx, _ = compiled(kernel, (9, 0))
    count = len(re.findall(r"\.param \.[uf]64", ptx[: ptx.index("{")]))
    assert count == sum(len(getattr(kind, "types", [0])) for kind in kernel._signature)
