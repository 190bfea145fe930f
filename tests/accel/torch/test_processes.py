"""Factors and rule compiled, in other processes and spread over several; the example."""

import copy
import os
import runpy
import shutil
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from accel.torch import EndToEndSGD, collapse, overparameterize  # noqa: E402

from ... import children  # noqa: E402
from ...children import python, started  # noqa: E402

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "overparameterize.py"


def run(code, *arguments):
    return python("-c", code, *arguments).stdout


def test_only_its_own_import_loads_it():
    code = "import sys, accel; print('torch' in sys.modules, 'accel.torch' in sys.modules)"
    assert run(code).split() == ["False", "False"]


def test_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "try:\n    import accel.torch\nexcept ImportError as error:\n    print(error)"
    )
    assert run(code) == "accel.torch needs PyTorch: pip install 'implicit-accel[torch]'\n"


def test_example(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    start, plain, factored, ruled, end = capsys.readouterr().out.splitlines()
    assert float(start.split()[-1]) < 1e-6
    assert float(end.split()[-1]) < 1e-6
    counts = [
        int(line.split(" parameters")[0].split()[-1]) for line in (plain, factored, ruled, end)
    ]
    assert counts == [676, 948, 676, 676]
    losses = [float(line.split("loss ")[1].split()[0]) for line in (plain, factored, ruled)]
    assert losses[2] == pytest.approx(losses[1], rel=0.01)
    assert max(losses) < 0.02


def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 6))
    return overparameterize(net, 2)


@pytest.fixture
def fresh_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def check_compiled(backend, batches):
    net = model()
    compiled = torch.compile(net, backend=backend, fullgraph=True)
    for batch in batches:
        inputs = torch.randn(batch, 3, 2, 2)
        gradients = []
        for way in (compiled, net):
            outputs = way(inputs)
            gradients.append(
                [outputs, *torch.autograd.grad(outputs.square().mean(), net.parameters())]
            )
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiles_in_one_piece(fresh_compiler):
    """For batches of any size, those included that have their factors multiplied first."""
    net = model()
    assert [net[3]._multiply_first(samples) for samples in (2, 4000)] == [False, True]
    check_compiled("aot_eager", (2, 5, 4000))


@pytest.mark.filterwarnings("ignore")
def test_the_step_compiles(fresh_compiler):
    """It is not compiled again for another rate, if that is a tensor."""
    nets = [model(), collapse(model())]
    nets.append(copy.deepcopy(nets[1]))
    rates = [torch.tensor(0.1) for _ in nets]
    optimizers = [
        EndToEndSGD(net.parameters(), rate, 2, momentum=0.9)
        for net, rate in zip(nets, rates, strict=True)
    ]
    compiled = torch.compile(optimizers[1].step, backend="aot_eager")
    inputs = torch.randn(9, 3, 2, 2)
    for step in range(4):
        for net, rate, advance in zip(
            nets[1:], rates[1:], (compiled, optimizers[2].step), strict=True
        ):
            net.zero_grad()
            net(inputs).square().mean().backward()
            rate.fill_(0.1 / (step + 1))
            with torch.compiler.set_stance("fail_on_recompile" if step > 1 else "default"):
                advance()
    for ours, theirs in zip(nets[1].parameters(), nets[2].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++ for torch.compile")
def test_compiles_to_machine_code(fresh_compiler):
    if os.environ.get("ACCEL_TEST_COMPILER") == "1":
        check_compiled("inductor", (4,))
        return
    # In a process of its own, since the compiler leaves threads behind.
    test = f"{__file__}::test_compiles_to_machine_code"
    done = children.pytest(test, limit=300, ACCEL_TEST_COMPILER="1")
    assert "1 passed" in done.stdout


PARALLEL = """
import copy, os, sys, torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from accel.torch import EndToEndSGD, collapse, overparameterize
rank, path = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
torch.manual_seed(rank)  # the processes start differently, DDP makes them the same
inputs = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
nets = []
for ruled in (False, True):
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    if not ruled:
        overparameterize(net, 3)
    spread = DistributedDataParallel(net)
    alone = copy.deepcopy(net)
    optimizers = [
        EndToEndSGD(n.parameters(), 0.1, 3, 0.9) if ruled else torch.optim.SGD(n.parameters(), 0.1)
        for n in (net, alone)
    ]
    for _ in range(5):
        for way, batch, optimizer in zip(
            (spread, alone), (inputs[4 * rank : 4 * rank + 4], inputs), optimizers
        ):
            optimizer.zero_grad()
            way(batch).pow(4).mean().backward()
            optimizer.step()
    collapse(spread)
    assert [type(layer) for layer in net] == [nn.Linear, nn.ReLU, nn.Linear]
    collapse(alone)
    for ours, theirs in zip(net.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    nets += [p.detach().flatten() for p in net.parameters()]
mine = torch.cat(nets)
both = [torch.empty_like(mine) for _ in range(2)]
distributed.all_gather(both, mine)
print(torch.equal(*both), flush=True)
distributed.destroy_process_group()
os._exit(0)  # what DDP still holds of the group may abort while Python ends: PyTorch's issue 190489
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed")
def test_two_processes(tmp_path):
    """Two processes with half of the batch each train as one process with all of it."""
    command = (sys.executable, "-c", PARALLEL)
    with (
        started(*command, 0, tmp_path / "meet") as first,
        started(*command, 1, tmp_path / "meet") as second,
    ):
        ended = [(w.stdout.rest(), w.stderr.rest(), w.wait()) for w in (first, second)]
    assert [(out, code) for out, _, code in ended] == [("True\n", 0)] * 2, ended
