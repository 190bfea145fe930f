"""EndToEndSGD against its definition and against balanced factors, and as an optimiser of torch."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest

import accel
from accel.kernels.reference.precondition import precondition as reference

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from accel.torch import EndToEndSGD, overparameterize  # noqa: E402
from accel.torch.end_to_end import precondition  # noqa: E402

RNG = np.random.default_rng(0)
INPUTS = torch.from_numpy(RNG.standard_normal((40, 6)))
TARGETS = torch.from_numpy(RNG.standard_normal((40, 5)))


def net():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 5)).double()


def loss_of(model):
    return (model(INPUTS) - TARGETS).pow(4).mean()


def steps(model, optimizer, count):
    for _ in range(count):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    layers = (model[0], model[2])
    return torch.cat([x.detach().flatten() for layer in layers for x in (layer.weight, layer.bias)])


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (3, 8), (8, 3), (5, 5), (40, 60)])
@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize("rank", [0, 1, 3, 60])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_direction_is_the_reference(shape, depth, rank, dtype):
    rank = min(rank, *shape)
    W = RNG.standard_normal((shape[0], rank)) @ RNG.standard_normal((rank, shape[1]))
    W, G = W.astype(dtype), RNG.standard_normal(shape).astype(dtype)
    ours = precondition(torch.from_numpy(W), torch.from_numpy(G), depth)
    theirs = reference(W, G, depth)
    assert ours.dtype == getattr(torch, dtype)
    atol = 50 * np.finfo(dtype).eps * np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_singular_values_far_apart():
    """Singular values that float32 can hold count, though their squares are below its rounding."""
    W = np.diag([1.0, 1e-3, 1e-5]).astype("f4")
    G = RNG.standard_normal((3, 3)).astype("f4")
    ours = precondition(torch.from_numpy(W), torch.from_numpy(G), 8)
    np.testing.assert_allclose(ours, reference(W.astype("f8"), G.astype("f8"), 8), rtol=1e-5)
    tiny = precondition(torch.full((2, 3), 1e-30), torch.ones(2, 3), 2)
    np.testing.assert_allclose(tiny, reference(np.full((2, 3), 1e-30), np.ones((2, 3)), 2), 1e-5)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_iterates_of_train(backend):
    X, y = RNG.standard_normal((30, 5)), RNG.standard_normal((30, 3))
    network = accel.LinearNetwork((5, 3), init="near_zero", scale=0.3, seed=1)
    problem = accel.LpProblem(X, y, p=4)
    rule = accel.EndToEnd(0.01, 3, weight_decay=0.02)
    expected = accel.train(problem, network, rule, 50, backend=backend).network.factors[0]
    layer = nn.Linear(5, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(network.factors[0]))
    optimizer = EndToEndSGD(layer.parameters(), 0.01, 3, weight_decay=0.02)
    for _ in range(50):
        optimizer.zero_grad()
        (layer(torch.from_numpy(X)) - torch.from_numpy(y)).pow(4).sum(1).mean().backward()
        optimizer.step()
    assert abs(expected - network.factors[0]).max() > 0.1
    np.testing.assert_allclose(layer.weight.detach(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_one_step_is_the_factors_to_first_order(depth, decay):
    """The difference falls with the square of the rate, the step with the rate."""
    start = steps(net(), None, 0)
    rates, differences = (0.02, 0.01, 0.005), []
    for rate in rates:
        factored, plain = overparameterize(net(), depth), net()
        theirs = steps(
            factored, torch.optim.SGD(factored.parameters(), rate, weight_decay=decay), 1
        )
        rule = EndToEndSGD(plain.parameters(), rate, depth, weight_decay=decay)
        ours = steps(plain, rule, 1)
        differences.append((ours - theirs).norm())
        # The biases have no factors.
        torch.testing.assert_close(plain[0].bias, factored[0].bias, rtol=0, atol=1e-14)
        assert differences[-1] < 1.5 * rate * (ours - start).norm()
    ratios = [float(a / b) for a, b in pairwise(differences)]
    np.testing.assert_allclose(ratios, 4, rtol=0.1)


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.0, 0.1), (0.9, 0.0)])
def test_many_small_steps_stay_close(momentum, decay):
    """Over the same time the distance of both paths falls with the rate."""
    start, distances = steps(net(), None, 0), []
    for rate, count in ((0.004, 100), (0.002, 200)):
        constants = {"momentum": momentum, "weight_decay": decay}
        rate *= 1 - momentum
        factored, plain = overparameterize(net(), 3), net()
        theirs = steps(factored, torch.optim.SGD(factored.parameters(), rate, **constants), count)
        ours = steps(plain, EndToEndSGD(plain.parameters(), rate, 3, **constants), count)
        distances.append((ours - theirs).norm() / (ours - start).norm())
    assert distances[1] < (2e-2 if momentum else 2e-3)
    assert distances[0] / distances[1] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_depth_1_and_vectors_are_plain_sgd(momentum):
    ours, theirs = net(), net()
    same = torch.optim.SGD(theirs.parameters(), 0.05, momentum=momentum)
    torch.testing.assert_close(
        steps(ours, EndToEndSGD(ours.parameters(), 0.05, 1, momentum), 10), steps(theirs, same, 10)
    )
    scale = nn.Parameter(torch.tensor(2.0))
    scale.grad = torch.tensor(3.0)
    EndToEndSGD([scale], 0.1, 4, weight_decay=0.5).step()
    assert scale.item() == pytest.approx(2 * 0.95 - 0.3)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_learning_rate_in_a_tensor_of_any_shape(shape):
    ours, theirs = ([*net().parameters(), nn.Parameter(torch.tensor(2.0))] for _ in range(2))
    for parameter in ours + theirs:
        parameter.grad = torch.ones_like(parameter)
    EndToEndSGD(ours, torch.full(shape, 0.1), 2, weight_decay=0.5).step()
    EndToEndSGD(theirs, 0.1, 2, weight_decay=0.5).step()
    torch.testing.assert_close(ours, theirs)


def test_momentum_is_of_directions():
    W0, G = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
    W = nn.Parameter(torch.from_numpy(W0.copy()))
    optimizer = EndToEndSGD([W], 0.1, 3, momentum=0.5, weight_decay=0.2)
    expected, buffer = W0, 0
    for _ in range(3):
        W.grad = torch.from_numpy(G)
        optimizer.step()
        buffer = 0.5 * buffer + reference(expected, G, 3)
        expected = (1 - 0.1 * 0.2 * 3) * expected - 0.1 * buffer
    np.testing.assert_allclose(W.detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (8, 3, 1), (3, 5, 1, 1)])
def test_kernels_are_matrices(shape):
    kernel, G = RNG.standard_normal(shape), RNG.standard_normal(shape)
    expected = kernel - 0.1 * reference(
        kernel.reshape(shape[0], -1), G.reshape(shape[0], -1), 3
    ).reshape(shape)
    for memory in (torch.contiguous_format, torch.channels_last)[: 2 if len(shape) == 4 else 1]:
        parameter = nn.Parameter(torch.from_numpy(kernel).clone(memory_format=memory))
        parameter.grad = torch.from_numpy(G).clone(memory_format=memory)
        EndToEndSGD([parameter], 0.1, 3).step()
        np.testing.assert_allclose(parameter.detach(), expected, rtol=1e-10)


def test_a_zero_matrix_stays_and_an_empty_one_is_fine():
    zero, empty = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(0, 4))
    for parameter in (zero, empty):
        parameter.grad = torch.ones_like(parameter)
    EndToEndSGD([zero, empty], 0.1, 2).step()
    assert zero.abs().max() == 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_divergence_is_a_value(value, dtype):
    parameter = nn.Parameter(torch.ones(3, 4, dtype=dtype))
    optimizer = EndToEndSGD([parameter], 0.1, 2)
    parameter.grad = torch.full_like(parameter, value)
    optimizer.step()
    assert not parameter.isfinite().any()
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert parameter.isnan().all()


def test_groups_closure_schedule_and_frozen_parameters():
    model = net()
    model[2].bias.requires_grad_(False)
    groups = [
        {"params": model[0].parameters(), "depth": 3, "lr": 0.1},
        {"params": [model[2].weight]},
    ]
    optimizer = EndToEndSGD(groups, torch.tensor(0.2), 2, momentum=0.5)
    optimizer.add_param_group({"params": [model[2].bias], "weight_decay": 1})
    assert [group["depth"] for group in optimizer.param_groups] == [3, 2, 2]
    assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx(
        [0.1, 0.2, 0.2]
    )
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0, 0, 1]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    gradients = torch.autograd.grad(loss_of(model), list(model.parameters())[:3])

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(loss_of(net()).item())
    expected = [
        before[0] - 0.1 * precondition(before[0], gradients[0], 3),
        before[1] - 0.1 * gradients[1],
        before[2] - torch.tensor(0.2) * precondition(before[2], gradients[2], 2),
        before[3],
    ]
    for ours, theirs in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs)
    assert set(optimizer.state) == set(list(model.parameters())[:3])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.step(closure)
    schedule.step()
    assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx(
        [0.05, 0.1, 0.1]
    )


def test_state_goes_on_exactly():
    model = net()
    optimizer = EndToEndSGD(model.parameters(), 0.05, 3, momentum=0.9, weight_decay=0.01)
    steps(model, optimizer, 3)
    other = copy.deepcopy(model)
    twin = EndToEndSGD(other.parameters(), 1.0, 2)
    twin.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    assert twin.param_groups[0]["depth"] == 3
    assert torch.equal(steps(model, optimizer, 3), steps(other, twin, 3))


def test_autocast_does_not_reach_the_step():
    ours, theirs = nn.Parameter(torch.randn(8, 9)), None
    theirs = nn.Parameter(ours.detach().clone())
    ours.grad = theirs.grad = torch.randn(8, 9)
    EndToEndSGD([ours], 0.1, 3).step()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        EndToEndSGD([theirs], 0.1, 3).step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    parameter = nn.Parameter(torch.randn(40, 300).to(dtype))
    parameter.grad = torch.randn(40, 300).to(dtype)
    before = parameter.detach().clone()
    optimizer = EndToEndSGD([parameter], 0.1, 2, momentum=0.5)
    optimizer.step()
    expected = reference(*(x.detach().double().numpy() for x in (before, parameter.grad)), 2)
    direction = optimizer.state[parameter]["momentum_buffer"]
    assert direction.dtype == parameter.dtype == dtype
    error = np.abs(direction.double().numpy() - expected).max()
    assert error < torch.finfo(dtype).eps * np.abs(expected).max()


def test_gradient_scaler():
    """Steps under autocast with a scaled loss; one whose gradients overflow is left out."""
    model = net().float()
    optimizer = EndToEndSGD(model.parameters(), 0.05, 2)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = model[0].weight.detach().clone()
    for factor in (1.0, torch.inf, 1.0):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = model(INPUTS.float())
        loss = (outputs.float() - TARGETS).pow(4).mean() * factor
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        moved = not torch.equal(model[0].weight, before)
        assert moved == (factor == 1.0)
        before = model[0].weight.detach().clone()
    assert model[0].weight.isfinite().all()


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (ValueError, "lr must be finite and >= 0, got -1", {"lr": -1}),
        (TypeError, "lr must be a real number, got '1'", {"lr": "1"}),
        (TypeError, "lr must be a real number, got tensor", {"lr": torch.ones(2)}),
        (ValueError, "depth must be >= 1 and <= 10000, got 0", {"depth": 0}),
        (TypeError, r"depth must be an integer, got 2\.0", {"depth": 2.0}),
        (ValueError, "momentum must be finite and >= 0 and < 1, got 1", {"momentum": 1}),
        (ValueError, "weight_decay must be finite and >= 0, got -1", {"weight_decay": -1}),
        (ValueError, "depth must be >= 1 and <= 10000, got -2",
         {"params": [{"params": [], "depth": -2}]}),
        (TypeError, "params must be real, got one of dtype torch.complex64",
         {"params": [torch.zeros(2, 2, dtype=torch.complex64, requires_grad=True)]}),
    ],
)  # fmt: skip
def test_bad_arguments(error, message, change):
    parameter = nn.Parameter(torch.ones(2, 2))
    with pytest.raises(error, match=message):
        EndToEndSGD(**{"params": [parameter], "lr": 0.1, "depth": 2} | change)


def test_sparse_gradients_are_refused():
    embedding = nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="needs dense gradients"):
        EndToEndSGD(embedding.parameters(), 0.1, 2).step()
