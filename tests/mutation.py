"""Do the tests notice a fault? One operator or number is changed at a time, and the tests run.

    pip install cosmic-ray
    python -m tests.mutation                      # all modules below: about an hour
    python -m tests.mutation updates two_points   # some of them
    python -m tests.mutation cpu.updates --sample 60 --seed 0

The changes are cosmic-ray's. Each is tested in a fork of this process, which imports the mutated
module from memory: no file is touched, and slow imports are done once. For every module its own
tests run; the first that fails kills the mutant.

Left out are changes that no test can or should notice:

- annotations, ``strict`` of ``zip``, and the inside of a ``raise`` (not whether it is raised);
- bit operators and ``~`` for arithmetic ones, which no float has, and ``is`` for ``==``;
- what does not compile, and ``/`` for the ``*`` before keyword-only arguments;
- what ``mutants.toml`` lists, with the reason why it changes nothing.
"""

import argparse
import ast
import contextlib
import gc
import os
import random
import resource
import signal
import sys
import tempfile
import tomllib
import traceback
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, settings

# Before NumPy is imported, since threads of BLAS do not survive a fork.
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

ROOT = Path(__file__).parents[1]
REFERENCE = ["-k", "reference"]
RESULTS = "tests/accel/theory/test_results.py"
#: Module: what pytest is told, one call after the other until one fails.
TESTS = {
    "kernels/reference/factor_chain.py": [["tests/kernels/test_factor_chain.py", *REFERENCE]],
    "kernels/reference/losses.py": [
        ["tests/kernels/test_losses.py", "-k", "not cpu and not cuda"],
        ["tests/kernels/test_curvature.py", *REFERENCE],
    ],
    "kernels/reference/entries.py": [
        ["tests/kernels/test_entries.py", "-k", "pass_over or derivatives or all_entries or zero"],
        ["tests/kernels/test_entries.py", *REFERENCE],
    ],
    "kernels/reference/entrywise.py": [["tests/kernels/test_entrywise.py", *REFERENCE]],
    "kernels/reference/lp_loss.py": [
        ["tests/kernels/test_lp_loss.py", "tests/kernels/test_diagonal.py", *REFERENCE]
    ],
    "kernels/reference/precondition.py": [["tests/kernels/test_precondition.py", *REFERENCE]],
    "kernels/reference/updates.py": [["tests/kernels/test_updates.py", *REFERENCE]],
    "kernels/reference/philox.py": [["tests/kernels/test_philox.py", "-k", "not compiled"]],
    "kernels/reference/batches.py": [["tests/kernels/test_batches.py", "-k", "not compiled"]],
    "kernels/reference/loop.py": [
        ["tests/kernels/test_loop_stopping.py", *REFERENCE],
        ["tests/kernels/test_loop_models.py", *REFERENCE],
        ["tests/kernels/test_loop.py", *REFERENCE],
    ],
    "kernels/cpu/updates.py": [["tests/kernels/test_updates.py", "-k", "cpu and not torch"]],
    "accel/theory/checks.py": [
        ["tests/accel/theory/test_preconditioning.py"],
        ["tests/accel/theory/test_two_points.py"],
        ["tests/accel/theory/test_flow.py", "tests/accel/theory/test_field.py"],
    ],
    "accel/theory/field.py": [["tests/accel/theory/test_field.py", RESULTS]],
    "accel/theory/flow.py": [["tests/accel/theory/test_flow.py", RESULTS]],
    "accel/theory/preconditioning.py": [["tests/accel/theory/test_preconditioning.py", RESULTS]],
    "accel/theory/two_points.py": [["tests/accel/theory/test_two_points.py", RESULTS]],
}
PYTEST = ["-x", "-q", "--tb=no", "--assert=plain", "-pno:cacheprovider"]
PYTEST += ["-p_hypothesis_pytestplugin"]  # by name, since autoloading is off
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"}


class Mutant(NamedTuple):
    """A changed module: the line, now and before, and all of the source."""

    number: int
    line: str
    before: str
    source: str


def sensible(operator):
    """Whether this operator of cosmic-ray is used here."""
    kind, *names = operator.partition("/")[2].split("_")
    if kind == "ReplaceBinaryOperator":
        return ARITHMETIC.issuperset(names)
    if kind == "ReplaceComparisonOperator":
        return set(names) == {"Is", "IsNot"} or not {"Is", "IsNot"}.intersection(names)
    if kind == "ReplaceUnaryOperator":
        return names[0] == "Delete"
    return True


def excluded_spans(source):
    """Where annotations, ``strict`` and raise statements stand, as pairs of (line, column)."""
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if part is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)
        if isinstance(node, ast.Raise) or getattr(node, "arg", None) == "strict":
            yield (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def mutants(source):
    """All mutants of a module, apart from those that the docstring above leaves out by kind."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    spans, lines = list(excluded_spans(source)), source.splitlines()
    for name in filter(sensible, plugins.operator_names()):
        if plugins.get_operator(name).arguments():
            continue
        operator = plugins.get_operator(name)()
        places = [
            at for node in ast_nodes(get_ast(source)) for at in operator.mutation_positions(node)
        ]
        for occurrence, ((row, column), _) in enumerate(places):
            if any(start <= (row, column) < end for start, end in spans):
                continue
            if lines[row - 1][column : column + 2] == "*,":
                continue
            changed = mutate_code(source, operator, occurrence)
            try:
                compile(changed, "mutant", "exec")
            except SyntaxError:
                continue
            line = changed.splitlines()[row - 1].strip()
            yield Mutant(row, line, lines[row - 1].strip(), changed)


class Finder(MetaPathFinder):
    """Imports one module from a string."""

    def __init__(self, path, source):
        self.name = path.removesuffix(".py").replace("/", ".").replace("kernels.", "accel.kernels.")
        self.package = self.name.rpartition(".")[0]
        self.path, self.source = str(ROOT / path), source

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        loader = SourceFileLoader(name, self.path)
        loader.get_code = lambda _: compile(self.source, self.path, "exec")
        return spec_from_loader(name, loader, origin=self.path)


def run_tests(path, source):
    # No shrinking: the first example that fails is enough. The profiles of the tests build on this.
    settings.register_profile("first", phases=[Phase.explicit, Phase.generate])
    settings.load_profile("first")
    finder = Finder(path, source)
    for name in [name for name in sys.modules if name.startswith(finder.package)]:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    if finder.package == "accel.kernels.cpu":
        os.environ["ACCEL_CACHE"] = "0"  # the disk holds the kernels of the files
    for arguments in TESTS[path]:
        if code := pytest.main([*PYTEST, *arguments]):
            return int(code)
    return 0


def outcome(path, source, seconds):
    """Run the module's tests on this source in a fork: exit status, CPU seconds, output."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if not child:
            code = 99
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
                code = run_tests(path, source)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                sys.stdout.flush()
                os._exit(code)
        _, status, usage = os.wait4(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, output.read()


def examine(path, known, sample, seed):
    """Run one module's mutants, print those that survive, and return the counts."""
    source = (ROOT / path).read_text()
    code, seconds, output = outcome(path, source, 600)
    if code:
        sys.exit(f"{output}\nthe tests of {path} fail without any change")
    limit = int(3 * seconds) + 4
    every = list(mutants(source))
    for beginning in known:
        if not any(mutant.line.startswith(beginning) for mutant in every):
            print(f"{path}: no mutant begins with {beginning!r}, of mutants.toml", flush=True)
    chosen = [mutant for mutant in every if not mutant.line.startswith(tuple(known))]
    counts = {"mutants": len(every), "equivalent": len(every) - len(chosen)}
    if sample and sample < len(chosen):
        chosen = random.Random(seed).sample(chosen, sample)
    counts |= {"run": len(chosen), "killed": 0, "timeout": 0, "survived": 0}
    print(f"{path}: {len(chosen)} of {len(every)} mutants, {seconds:.1f} s of tests", flush=True)
    for mutant in chosen:
        code, _, _ = outcome(path, mutant.source, limit)
        if code == 0:
            print(f"  survived, line {mutant.number}: {mutant.line}", flush=True)
            print(f"    for: {mutant.before}", flush=True)
        fate = {0: "survived", -signal.SIGXCPU: "timeout", -signal.SIGKILL: "timeout"}
        counts[fate.get(code, "killed")] += 1
    print(f"  {counts}", flush=True)
    return counts


def warm_up():
    """Import and load once what each fork needs."""
    import numpy as np
    import scipy.integrate  # noqa: F401

    import accel

    with contextlib.suppress(ImportError):
        import torch

        torch.optim.SGD([torch.zeros(1, requires_grad=True)]).step()
    problem = accel.LpProblem(np.eye(2), [2.0, 1.0], p=4)
    accel.train(problem, accel.LinearNetwork((2, 1)), accel.GradientDescent(0.1), 1, threads=1)
    accel.theory.curl(problem, [1.0, 1.0], depth=3)
    gc.freeze()  # else garbage collection in every fork would copy all of this


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("modules", nargs="*", help="parts of their names; all of them by default")
    parser.add_argument("--sample", type=int, help="so many mutants of each, at random")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    warm_up()
    os.chdir(ROOT)
    sys.dont_write_bytecode = True
    known = tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())
    rows = {}
    for path in TESTS:
        name = path.removesuffix(".py").replace("/", ".")
        if not options.modules or any(part in name for part in options.modules):
            rows[path] = examine(path, known.get(name, {}), options.sample, options.seed)
    print("\n| module | mutants | equivalent | run | killed | timeout | survived | share |")
    print("|---|---|---|---|---|---|---|---|")
    for path, counts in rows.items():
        share = 1 - counts["survived"] / max(counts["run"], 1)
        print(f"| {path} | {' | '.join(map(str, counts.values()))} | {share:.1%} |")


if __name__ == "__main__":
    main()
