"""What the CPU kernels become on 64-bit Arm: the assembly that LLVM writes for it on any machine.

``arm.py`` compiles it, in processes of their own. That the numbers are right is for all other tests
to see, on such a machine or an emulated one.
"""

import re

import pytest
from llvmlite import binding as llvm

from ..children import ROOT, python

#: Of ``arm.RUNS``, those whose kernels are for a team of ranks, which meet at barriers.
TEAMS = [
    "team", "team, float32", "team, several outputs", "team, entrywise", "logistic", "wide",
    "wide, float32", "entries", "batches", "batches, wide",
]  # fmt: skip
ALONE = [
    "columns, float32", "joint", "joint, several models, float32", "gram", "grouped", "diagonal",
    "measurements", "cross-entropy",
]  # fmt: skip
#: The quick ones, and the others.
QUICK = ["team", "columns, float32"]
SLOW = [name for name in (*TEAMS, *ALONE) if name not in QUICK]
EACH = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]

#: What kernels may call but themselves: Numba's own functions, and these of C, which take no time:
#: ``pow`` and ``sin`` in the schedules of a step, ``log`` once a row for the cross-entropy.
OF_NUMBA = ("_Z", "cfunc.", "NRT_", "numba_", "Py")
OF_C = {"memset", "memcpy", "memmove", "pow", "sin", "cos", "log", "sched_yield", "usleep"}

CALL = re.compile(r"\tbl?\t(?!\.)([\w.$]+)")
JUMP = re.compile(r"\t(?:b|b\.\w+|cbn?z|tbn?z)\t(?:.*, )?(\.\w+)$")
IN_VECTORS = re.compile(r"\tfml[as]\tv")
ONE_BY_ONE = re.compile(r"\tfn?m(?:add|sub)\t")


def innermost(code):
    """The loops that have no other one in them, each a list of instructions."""
    lines = [line for line in code.splitlines() if line.startswith((".", "\t"))]
    lines = [line for line in lines if not line.startswith("\t.")]
    labels = {line.split(":")[0]: i for i, line in enumerate(lines) if line.startswith(".")}
    loops, latest = [], -1
    for last, line in enumerate(lines):
        jump = JUMP.match(line)
        first = labels.get(jump[1], last) if jump else last
        if first < last:
            if first > latest:  # none that has ended before lies within this one
                loops.append([line for line in lines[first : last + 1] if line[0] == "\t"])
            latest = max(latest, first)
    return loops


def count(pattern, lines):
    return sum(bool(pattern.match(line)) for line in lines)


@pytest.mark.parametrize("name", EACH)
def test_assembly(name):
    try:
        llvm.initialize_all_targets()
        llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite has no compiler for Arm")
    done = python("-m", "tests.kernels.arm", name, limit=600, cwd=ROOT, ACCEL_CACHE="0")
    code, loops = done.stdout, innermost(done.stdout)

    # Multiply-adds are in vectors. Only what is left over of a few numbers is computed one by one,
    # and no function is called there.
    heavy = [loop for loop in loops if count(IN_VECTORS, loop) >= 8]
    assert heavy
    for loop in heavy:
        assert count(ONE_BY_ONE, loop) == count(CALL, loop) == 0, loop
    for loop in loops:
        assert count(ONE_BY_ONE, loop) <= 4, loop

    # No arithmetic is left to a library, such as fma, or atomic operations to one of the compiler.
    called = {name for name in CALL.findall(code) if not name.startswith(OF_NUMBA)}
    assert called <= OF_C

    # Other processors see what was written before a flag was, in this order: x86 does so by itself.
    if name in TEAMS:
        instructions = re.findall(r"^\t(\w+)\b", code, re.MULTILINE)
        assert instructions.count("stlr") >= 2  # a unit is done; a phase begins
        assert {"ldar", "ldapr"} & set(instructions)
        assert "casal" in instructions  # a rank claims a unit
        assert {"yield", "isb"} & set(instructions)


def test_every_kernel_is_among_them():
    listed = python("-m", "tests.kernels.arm", cwd=ROOT).stdout.splitlines()
    assert sorted(listed) == sorted([*TEAMS, *ALONE])
