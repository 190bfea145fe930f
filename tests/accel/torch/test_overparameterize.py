"""Layers into factors and back: ``overparameterize`` and ``collapse``."""

import copy
import io
import pickle
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

from accel.torch import ConvFactors, LinearFactors, collapse, overparameterize  # noqa: E402

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
INPUTS = torch.randn(7, 6, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1)


class Net(nn.Module):
    """Convolutions of both kinds, a norm, a shared layer, and one output more than channels."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(6, 9, 1, stride=(1, 2), padding=(2, 1))
        self.spread = nn.Conv2d(9, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.heads = nn.ModuleDict({"a": nn.Linear(8, 3, bias=False), "b": nn.Linear(8, 11)})
        self.again = self.heads["b"]
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())

    def forward(self, inputs):
        hidden = self.norm(self.spread(self.mix(inputs))).relu().mean((-1, -2))
        hidden = self.body(hidden)
        return torch.cat([self.heads["a"](hidden), self.heads["b"](hidden), self.again(hidden)], -1)


def close(ours, theirs, dtype):
    assert ours.dtype == theirs.dtype == dtype
    assert ours.shape == theirs.shape
    scale = theirs.abs().max()
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=TOLERANCE[dtype])


def products(model):
    return {
        name: layer.weight.detach().flatten(1)
        for name, layer in model.named_modules()
        if isinstance(layer, LinearFactors | ConvFactors)
    }


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("depth", [2, 4])
@pytest.mark.parametrize("width", [None, 10])
@pytest.mark.parametrize("init", ["function_preserving", "identity"])
def test_the_same_function_there_and_back(dtype, depth, width, init):
    model, inputs = Net().to(dtype), INPUTS.to(dtype)
    plain, state = model(inputs), copy.deepcopy(model.state_dict())
    assert overparameterize(model, depth, width, init=init) is model
    close(model(inputs), plain, dtype)
    for name, product in products(model).items():
        torch.testing.assert_close(product, state[f"{name}.weight"].flatten(1))
        if init == "identity":
            assert torch.equal(product, state[f"{name}.weight"].flatten(1))
        widths = model.get_submodule(name).width
        assert widths == (width or min(product.shape),) * (depth - 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
    trained, factors = model(inputs).detach(), products(model)
    assert (trained - plain).abs().max() > 1e-3
    assert collapse(model) is model
    close(model(inputs), trained, dtype)
    assert model.state_dict().keys() == state.keys()
    for name, product in factors.items():
        close(model.get_submodule(name).weight.flatten(1), product, dtype)


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (4, 4), (1, 6)])
@pytest.mark.parametrize("width", [None, 9])
def test_balance(depth, shape, width):
    layer = overparameterize(nn.Linear(*shape, dtype=torch.float64), depth, width)
    factors = [factor.detach() for factor in layer.factors]
    assert len(factors) == layer.depth == depth
    for below, above in pairwise(factors):
        torch.testing.assert_close(above.T @ above, below @ below.T)


@pytest.mark.parametrize("init", ["function_preserving", "identity", "near_zero"])
def test_what_stays_as_it_is(init):
    model = Net()
    model.heads["a"].weight.requires_grad_(False)
    model.body.eval()
    biases = [model.mix.bias, model.heads["b"].bias, model.body[0].bias]
    untouched = {name: p for name, p in model.named_parameters() if "spread" in name}
    names = [name for name, _ in model.named_modules(remove_duplicate=False)]
    generator = torch.get_rng_state()
    overparameterize(model, 3, init=init)
    assert torch.equal(torch.get_rng_state(), generator) == (init != "near_zero")
    assert [
        name for name, _ in model.named_modules(remove_duplicate=False)
        if not name.endswith(".factors")
    ] == names  # fmt: skip
    assert model.again is model.heads["b"]
    assert type(model.spread) is nn.Conv2d
    parameters = dict(model.named_parameters())
    for name, parameter in untouched.items():
        assert parameters[name] is parameter
    assert [p.requires_grad for p in model.heads["a"].factors] == [False] * 3
    assert all(p.requires_grad for p in model.heads["b"].factors)
    assert model.heads["a"].bias is None
    assert not model.body[0].training
    assert not model.body[0].factors.training
    assert model.mix.training
    for net in (model, collapse(model)):
        kept = [net.mix.bias, net.heads["b"].bias, net.body[0].bias]
        assert all(ours is theirs for ours, theirs in zip(kept, biases, strict=True))
    assert model.again is model.heads["b"]
    assert type(model.mix) is nn.Conv2d
    assert (model.mix.stride, model.mix.padding) == ((1, 2), (2, 1))
    assert not model.heads["a"].weight.requires_grad
    assert model.heads["b"].weight.requires_grad
    assert (model.body[0].training, model.mix.training) == (False, True)
    assert (model.mix.weight.shape, model.heads["a"].weight.shape) == ((9, 6, 1, 1), (3, 8))
    assert not any("meta" in str(p.device) for p in model.parameters())


def test_a_layer_alone():
    layer = overparameterize(nn.Linear(3, 2))
    assert isinstance(layer, LinearFactors)
    assert (layer.in_features, layer.out_features) == (3, 2)
    assert "widths=(3, 2, 2), bias=True" in repr(layer)
    assert type(collapse(layer)) is nn.Linear
    layer = overparameterize(nn.Conv2d(3, 5, 1, padding="same", dilation=3), width=4)
    assert isinstance(layer, ConvFactors)
    assert (layer.in_channels, layer.out_channels) == (3, 5)
    assert "widths=(3, 4, 5), bias=True, stride=(1, 1), padding=same" in repr(layer)
    assert (collapse(layer).padding, collapse(layer).dilation) == ("same", (3, 3))
    assert collapse(nn.ReLU()).extra_repr() == ""


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4), (6,)),
        (nn.Linear(6, 4), (0, 6)),
        (nn.Linear(6, 4), (2, 3, 6)),
        (nn.Linear(6, 4), (400, 6)),
        (nn.Linear(4, 6), (400, 4)),
        (nn.Conv2d(6, 4, 1, (2, 3), (1, 2)), (6, 5, 4)),
        (nn.Conv2d(6, 4, 1, (2, 3), (1, 2)), (3, 6, 5, 4)),
        (nn.Conv2d(6, 4, 1, (2, 3), (1, 2)), (3, 6, 50, 40)),
        (nn.Conv2d(4, 6, 1), (9, 4, 50, 40)),
    ],
)
def test_both_orders(layer, shape):
    layer = layer.double()
    inputs = torch.randn(shape, dtype=torch.float64)
    factored = overparameterize(copy.deepcopy(layer), 3, width=12)
    first = []
    factored._multiply_first = lambda samples: first.append(samples) or False
    in_turn = factored(inputs)
    del factored._multiply_first
    factored._multiply_first = lambda samples: True
    close_to = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(in_turn, layer(inputs), **close_to)
    torch.testing.assert_close(factored(inputs), layer(inputs), **close_to)
    del factored._multiply_first
    # 12 units between 6 and 4 or the like: 12 * 6 + 12 * 12 + 4 * 12 - 24 multiply-adds a sample
    # more, and 4 * 12 * 12 + 4 * 12 * 6 to multiply the factors.
    assert factored._multiply_first(4)
    assert not factored._multiply_first(3)
    if layer.weight.ndim == 2:
        assert first == [inputs.numel() // shape[-1]]
    else:
        pixels = inputs.shape[-1] * inputs.shape[-2] * (inputs.shape[0] if len(shape) == 4 else 1)
        assert first == [pixels // (layer.stride[0] * layer.stride[1])]


def test_a_narrow_product_is_never_multiplied_first():
    layer = overparameterize(nn.Linear(100, 100), width=2, init="near_zero")
    assert not layer._multiply_first(10**9)


def test_which_layers():
    names = {"mix", "heads.a", "heads.b", "body.0"}
    everything = overparameterize(Net())
    assert set(products(everything)) == names
    assert set(products(overparameterize(Net(), modules=[nn.Linear]))) == names - {"mix"}
    assert set(products(overparameterize(Net(), modules=(nn.Conv2d,)))) == {"mix"}
    some = overparameterize(Net(), modules=("again", "body.0"))
    assert set(products(some)) == {"heads.b", "body.0"}
    assert some.again is some.heads["b"]
    assert set(products(overparameterize(Net(), modules=("mix", nn.Linear)))) == names
    special = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, groups=2), nn.Conv1d(4, 4, 1),
        nn.Conv2d(4, 4, 1, padding=1, padding_mode="reflect"), nn.Bilinear(4, 4, 4),
        parametrizations.weight_norm(nn.Linear(4, 4)), nn.MultiheadAttention(4, 1), nn.Linear(4, 4),
    )  # fmt: skip
    assert set(products(overparameterize(special))) == {"7"}


def test_rank_and_width():
    layer = nn.Linear(9, 6, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(6, 2).double() @ torch.randn(2, 9).double())
    weight = layer.weight.detach().clone()
    for width in (2, 3, 6, 12):
        product = overparameterize(copy.deepcopy(layer), 3, width).weight
        torch.testing.assert_close(product, weight, rtol=0, atol=1e-12)
    model = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Sequential(layer))
    state = copy.deepcopy(model.state_dict())
    for init, width, message in [
        ("function_preserving", 1, "layer '2.0' .*at least its rank of 2, got 1"),
        ("identity", 5, "layer '2.0' .*at least 6, got 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            overparameterize(model, 2, width, modules=["2.0"], init=init)
    with pytest.raises(ValueError, match=r"layer '0' .*at least its rank of 6, got 5"):
        overparameterize(model, 2, 5)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])
    narrow = overparameterize(model, 3, 1, init="near_zero")
    assert narrow[0].width == (1, 1)


def test_near_zero():
    layer = overparameterize(nn.Linear(300, 200), 2, 100, init="near_zero")
    for factor in layer.factors:
        assert factor.std().item() == pytest.approx(0.01, rel=0.05)
        assert factor.mean().abs() < 1e-3


def test_a_zero_layer():
    layer = nn.Linear(4, 3)
    nn.init.zeros_(layer.weight)
    with pytest.raises(ValueError, match=r"the layer cannot .*it is zero, .*take 'identity'"):
        overparameterize(layer)
    factored = overparameterize(layer, init="identity")
    factored(torch.ones(2, 4)).sum().backward()
    assert factored.factors[0].grad.abs().min() > 0


def test_half_precision():
    layer = nn.Linear(12, 8, dtype=torch.bfloat16)
    weight = layer.weight.detach().clone()
    for init in ("identity", "function_preserving"):
        factored = overparameterize(copy.deepcopy(layer), 2, init=init)
        assert {p.dtype for p in factored.parameters()} == {torch.bfloat16}
        product = collapse(factored).weight
        assert product.dtype == torch.bfloat16
        exact = init == "identity"
        torch.testing.assert_close(product, weight, rtol=0, atol=0 if exact else 0.01)


def test_tied_weights_are_refused():
    model = nn.ModuleDict({"embedding": nn.Embedding(9, 4), "head": nn.Linear(4, 9)})
    model["head"].weight = model["embedding"].weight
    with pytest.raises(ValueError, match=r"layer 'head' .*another module has the same weight"):
        overparameterize(model)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=r"layer '0' .*another module has the same weight"):
        overparameterize(model)
    assert type(model[0]) is nn.Linear
    model[1].weight = nn.Parameter(model[0].weight.detach().clone())
    model[1].bias = model[0].bias  # a bias is one parameter before and after
    overparameterize(model)
    assert model[0].bias is model[1].bias


def burdened():
    """Layers that are more than a matrix and a bias, and the message about each."""
    for register in (
        "register_forward_hook", "register_full_backward_hook", "register_state_dict_pre_hook",
        "register_load_state_dict_post_hook",
    ):  # fmt: skip
        hooked = nn.Linear(3, 3)
        getattr(hooked, register)(lambda *_: None)
        yield hooked, "it has hooks"
    masked, mother, more, other = (nn.Linear(3, 3) for _ in range(4))
    masked.register_buffer("mask", torch.ones(3, 3))
    mother.child = nn.Linear(3, 1)
    more.gain = nn.Parameter(torch.ones(()))
    other.forward = torch.tanh
    yield masked, "it has mask besides, which would be lost"
    yield mother, "it has child besides, which would be lost"
    yield more, "it has gain besides, which would be lost"
    yield other, "it has a forward of its own, which would be lost"


@pytest.mark.parametrize("case", range(8))
def test_nothing_is_lost_on_the_way_there(case):
    layer, message = list(burdened())[case]
    model = nn.Sequential(nn.Linear(2, 3), layer)
    with pytest.raises(ValueError, match=f"layer '1' cannot be overparameterized: {message}"):
        overparameterize(model)
    assert type(model[0]) is nn.Linear


def test_nothing_is_lost_on_the_way_back():
    model = overparameterize(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3)))
    handle = model[1].register_forward_hook(lambda module, given, outputs: 2 * outputs)
    with pytest.raises(ValueError, match="layer '1' cannot be collapsed: it has hooks"):
        collapse(model)
    assert all(isinstance(layer, LinearFactors) for layer in model)
    handle.remove()
    assert type(collapse(model)[1]) is nn.Linear


def test_layers_that_cannot_be_replaced():
    bad = nn.Linear(3, 3)
    nn.init.constant_(bad.weight, torch.nan)
    with pytest.warns(UserWarning, match="zero-element"):
        empty = nn.Linear(0, 3)
    for layer, message in [
        (prune.l1_unstructured(nn.Linear(3, 3), "weight", 0.5), "it has hooks"),
        (bad, "its weight must be finite"),
        (empty, r".* got torch.float32 on cpu of shape \(3, 0\)"),
        (nn.Linear(3, 3, device="meta"), ".* real numbers, got torch.float32 on meta"),
        (nn.Linear(3, 3, dtype=torch.complex64), ".* real numbers, got torch.complex64"),
    ]:
        with pytest.raises(ValueError, match=f"layer '1' cannot be overparameterized: {message}"):
            overparameterize(nn.Sequential(nn.Linear(2, 2), layer))


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (TypeError, r"model must be a torch\.nn\.Module, got 3", {"model": 3}),
        (ValueError, "depth must be >= 2 and <= 10000, got 1", {"depth": 1}),
        (TypeError, r"depth must be an integer, got 2\.0", {"depth": 2.0}),
        (ValueError, "width must be >= 1, got 0", {"width": 0}),
        (ValueError, "init must be one of .*did you mean 'near_zero'", {"init": "nearzero"}),
        (TypeError, "modules must be a sequence, got <class", {"modules": nn.Linear}),
        (TypeError, "modules must be a sequence, got 'body'", {"modules": "body"}),
        (TypeError, "modules must hold nn.Linear, .* or names, got .*ReLU", {"modules": [nn.ReLU]}),
        (TypeError, "modules must hold nn.Linear, nn.Conv2d or names, got 3", {"modules": [3]}),
        (ValueError, "modules must be one of .*did you mean 'spread'", {"modules": ["spred"]}),
        (ValueError, "modules must name layers .*got 'body': Seq", {"modules": ["body"]}),
        (ValueError, "modules must name layers .*got 'spread': Conv2d", {"modules": ["spread"]}),
        (ValueError, "select no layer", {"model": nn.ReLU()}),
        (ValueError, "select no layer", {"modules": ()}),
    ],
)  # fmt: skip
def test_bad_arguments(error, message, change):
    with pytest.raises(error, match=message):
        overparameterize(**{"model": Net()} | change)


def test_collapse_refuses_what_is_no_module():
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got 3"):
        collapse(3)


def test_twice():
    model = overparameterize(Net())
    with pytest.raises(ValueError, match="select no layer"):
        overparameterize(model)
    collapse(model)
    state = copy.deepcopy(model.state_dict())
    collapse(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_the_product_stands_for_the_weight():
    layer = overparameterize(nn.Linear(4, 3), 2)
    layer.weight.sum().backward()
    W1, W2 = layer.factors
    torch.testing.assert_close(W1.grad, W2.detach().T @ torch.ones(3, 4))
    torch.testing.assert_close(W2.grad, torch.ones(3, 4) @ W1.detach().T)
    with pytest.raises(KeyError, match="weight"):
        layer.weight = nn.Parameter(torch.zeros(3, 4))


def test_state_copies_and_pickles():
    model, other = overparameterize(Net(), 3), Net()
    state = model.state_dict()
    assert {"mix.factors.0", "mix.factors.2", "mix.bias", "spread.weight"} <= state.keys()
    assert "mix.weight" not in state
    overparameterize(other, 3).load_state_dict(state)
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    copies = [
        other, copy.deepcopy(model), pickle.loads(pickle.dumps(model)),
        torch.load(stream, weights_only=False),
    ]  # fmt: skip
    model.eval()
    outputs = model(INPUTS)
    for twin in copies:
        assert torch.equal(twin.eval()(INPUTS), outputs)
        assert twin.again is twin.heads["b"]
        pointers = {p.data_ptr() for p in model.parameters()}
        assert not pointers & {p.data_ptr() for p in twin.parameters()}
        collapse(twin)
        assert isinstance(twin.mix, nn.Conv2d)
    assert isinstance(model.mix, ConvFactors)


@pytest.mark.parametrize("samples", [1, 500])
def test_mixed_precision(samples):
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
    inputs = torch.randn(samples, 12)
    factored = overparameterize(copy.deepcopy(model))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, outputs = model(inputs), factored(inputs)
        loss = outputs.float().square().mean()
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0.05)
    loss.backward()
    for parameter in factored.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


def test_double_backward_and_vmap():
    layer = overparameterize(nn.Linear(3, 2, dtype=torch.float64), 3)
    inputs = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x).tanh(), inputs)
    parameters = dict(layer.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(layer, parameters, (x[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, inputs.detach())
    whole = torch.autograd.grad(layer(inputs.detach()).square().sum(), list(parameters.values()))
    for ours, theirs in zip(each.values(), whole, strict=True):
        torch.testing.assert_close(ours.sum(0), theirs)
