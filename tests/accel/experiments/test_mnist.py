"""The MNIST experiment: its networks, its steps by the definition, and resumed runs."""

import os
import signal
import sys
import time
from dataclasses import fields

import numpy as np
import pytest

from accel._files import archives
from accel.datasets.mnist import MnistData
from accel.experiments import mnist
from accel.experiments.mnist import contest
from accel.experiments.mnist import training as mnist_training
from accel.experiments.mnist.training import INITS

RNG = np.random.default_rng(0)
DATA = MnistData(
    RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8),
    RNG.integers(0, 10, 40, dtype=np.uint8),
    "digits",
    "random",
)
QUICK = {"batch": 8, "threads": 1, "init": "near_zero", "record_every": 1}
HELD_OUT = 3  # of 40


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def nets(torch, init):
    from accel.experiments.mnist.network import original, overparameterized

    generator = torch.Generator().manual_seed(1)
    net = original(generator)
    return net, overparameterized(net, generator, init)


def matrix(layer):
    return layer.weight.detach().numpy()


def same(a, b):
    """Check that two results have the same bits, apart from times."""
    assert (a.status, a.steps) == (b.status, b.steps)
    for ours, theirs in ((a.original, b.original), (a.overparameterized, b.overparameterized)):
        for field in fields(ours):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))


def test_parameters(torch):
    net, wide = nets(torch, "near_zero")
    dense = 3136 * 512 + 512 + 512 * 10 + 10
    assert net.n_parameters == (25 * 32 + 32) + (25 * 32 * 64 + 64) + dense == 1_663_370
    assert wide.n_parameters == net.n_parameters + 512**2 + 10**2 == 1_925_614
    assert 0.15 < wide.n_parameters / net.n_parameters - 1 < 0.16  # the paper: roughly 15 %
    assert [matrix(layer).shape for layer in wide.dense] == [(512, 3136), (10, 512)]


def test_balanced_factors_start_as_the_original(torch):
    net, wide = nets(torch, "balanced")
    for layer, factored in zip(net.dense, wide.dense, strict=True):
        np.testing.assert_allclose(matrix(factored), matrix(layer), atol=1e-5)
        W1, W2 = (factor.detach().numpy() for factor in factored.factors)
        np.testing.assert_allclose(W2.T @ W2, W1 @ W1.T, atol=1e-4)
    pixels = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(2)) - 0.5
    with torch.no_grad():
        ours, theirs = (n(pixels).numpy() for n in (net, wide))
    np.testing.assert_allclose(theirs, ours, atol=1e-3 * np.abs(ours).max())
    # 2 sum(s) in place of sum(s^2): another penalty from the start, so the loss alone misleads.
    (nuclear, frobenius), bias = (
        sum(np.linalg.norm(matrix(layer), kind) ** power for layer in net.dense)
        for kind, power in (("nuc", 1), ("fro", 2))
    ), 522 * 0.01  # fmt: skip
    assert net.penalty().item() == pytest.approx(2.5e-4 * (frobenius + bias), rel=1e-4)
    assert wide.penalty().item() == pytest.approx(2.5e-4 * (2 * nuclear + bias), rel=1e-4)


@pytest.mark.parametrize("init", INITS)
def test_starts(torch, init):
    net, wide = nets(torch, init)
    pointers = [w.data_ptr() for n in (net, wide) for w in n.parameters()]
    assert len(set(pointers)) == len(pointers)
    for ours, theirs in zip(net.convolutions, wide.convolutions, strict=True):
        assert torch.equal(ours.weight, theirs.weight)
    for n in (net, wide):
        layers = [*n.convolutions, *n.dense]
        assert [layer.bias.unique().tolist() for layer in layers] == [
            [0.0], *[[pytest.approx(0.1)]] * 3
        ]  # fmt: skip
    penalty = {"balanced": 1.25, "tutorial": 3.63, "near_zero": 0.0375}[init]
    assert net.penalty().item() == pytest.approx(3.12, rel=0.01)
    assert wide.penalty().item() == pytest.approx(penalty, rel=0.01)
    drawn = [(0.1, layer.weight) for layer in (*net.convolutions, *net.dense)]
    if init != "balanced":
        std = {"tutorial": 0.1, "near_zero": 0.01}[init]
        drawn += [(std, factor) for layer in wide.dense for factor in layer.factors]
    for std, tensor in drawn:
        assert tensor.abs().max() <= 2 * std
        if tensor.numel() > 1000:  # a Gaussian cut at two deviations has 0.880 of its deviation
            assert tensor.std().item() == pytest.approx(0.880 * std, rel=0.05)


def modules(torch, net):
    """The same network made of torch's layers."""
    nn = torch.nn
    layers = [nn.Conv2d(1, 32, 5, padding="same"), nn.Conv2d(32, 64, 5, padding="same")]
    layers += [nn.Linear(3136, 512), nn.Linear(512, 10)]
    with torch.no_grad():
        for module, ours in zip(layers, (*net.convolutions, *net.dense), strict=True):
            module.load_state_dict(ours.state_dict())
    a, b, c, d = layers
    pool = [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(a, *pool, b, *pool, nn.Flatten(), c, nn.ReLU()), d


def test_steps_are_those_of_the_tutorial(torch, monkeypatch):
    """Against torch's own layers and the definition of momentum, over two decays of the rate."""
    monkeypatch.setattr(mnist_training, "_EPOCH", 16)
    training = mnist_training.Training(torch, DATA, HELD_OUT, 8, 5, "near_zero")
    body, head = modules(torch, training.nets[0])
    weights = [*body.parameters(), *head.parameters()]
    dense = [*body[-2].parameters(), *head.parameters()]
    velocities = [torch.zeros_like(w) for w in weights]
    dropout = torch.Generator().manual_seed(int(np.random.SeedSequence(5).generate_state(2)[1]))
    pixels = (torch.tensor(DATA.images[HELD_OUT:], dtype=torch.float32) - 127.5) / 255
    labels = torch.tensor(DATA.labels[HELD_OUT:].astype(int))
    for step in range(5):
        batch = slice(step * 8 % 29, step * 8 % 29 + 8)  # 37 images: the last begins at 3
        kept = torch.rand(8, 512, generator=dropout) < 0.5
        logits = head(body(pixels[batch][:, None]) * kept / 0.5)
        entropy = torch.nn.functional.cross_entropy(logits, labels[batch])
        penalty = 5e-4 * sum((w**2).sum() / 2 for w in dense)
        gradients = torch.autograd.grad(entropy + penalty, weights)
        velocities = [0.9 * v + g for v, g in zip(velocities, gradients, strict=True)]
        for w, v in zip(weights, velocities, strict=True):
            w.data = w.data - 0.01 * 0.95 ** (step // 2) * v
        training.advance()
        assert training.losses[-1][0] == pytest.approx((entropy.item(), penalty.item()), rel=1e-4)
    for ours, theirs in zip(training.nets[0].parameters(), weights, strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), atol=1e-5)


def test_both_learn_and_the_same_bits_come_again(torch):
    """Trained to tell two greys apart, in images dark enough for a rate chosen for digits."""
    kinds = np.arange(40, dtype=np.uint8) % 2
    images = np.broadcast_to(110 + 36 * kinds[:, None, None], (40, 28, 28))
    data = MnistData(images, kinds, "MNIST", "two kinds")
    threads = torch.get_num_threads()
    runs = [mnist.run(data, 12, **QUICK | {"init": "balanced"}) for _ in range(2)]
    same(runs[0], runs[1])
    other = mnist.run(data, 1, **QUICK, seed=1)  # init is about the factors alone
    assert runs[0].original.loss[0] != other.original.loss[0]
    assert torch.get_num_threads() == threads
    for net in (runs[0].original, runs[0].overparameterized):
        assert np.median(net.cross_entropy[-5:]) < 0.01 * net.cross_entropy[0]
        assert net.validation_error == 0
        assert (net.loss > net.cross_entropy).all()
    assert (runs[0].status, runs[0].steps, runs[0].source) == ("completed", 12, "MNIST")
    assert runs[0].overparameterized.n_parameters == 1_925_614
    assert runs[0].seconds > 0


def test_curves(torch, monkeypatch):
    monkeypatch.setattr(contest, "_SMOOTHED_OVER", 3)
    seen = []
    every = mnist.run(DATA, 6, **QUICK, callback=lambda *args: seen.append(args))
    some = mnist.run(DATA, 6, **QUICK | {"record_every": 4})
    assert [step for step, *_ in seen] == [1, 2, 3, 4, 5, 6]
    for j, name in enumerate(("original", "overparameterized"), 1):
        net, few = getattr(every, name), getattr(some, name)
        np.testing.assert_array_equal(net.step, range(6))
        np.testing.assert_array_equal(net.loss, [row[j] for row in seen])
        for raw, smoothed in ((net.loss, net.smoothed_loss),
                              (net.cross_entropy, net.smoothed_cross_entropy)):  # fmt: skip
            means = [raw[max(0, i - 2) : i + 1].mean() for i in range(6)]
            np.testing.assert_allclose(smoothed, means, rtol=1e-12)
        np.testing.assert_array_equal(few.step, [0, 4, 5])
        np.testing.assert_array_equal(few.smoothed_loss, net.smoothed_loss[[0, 4, 5]])


def stop(step, *_):
    return step == 3


def interrupt(step, *_):
    if step == 3:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def uninterrupted(torch, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run.npz"
    return mnist.run(DATA, 7, **QUICK, checkpoint=path), archives.read(path, 2)[1]


@pytest.mark.parametrize(
    "way",
    [
        "callback",
        *(
            pytest.param(w, marks=pytest.mark.slow)
            for w in ("interrupt in the callback", "signal in a step")
        ),
    ],
)
def test_goes_on_exactly(torch, tmp_path, monkeypatch, uninterrupted, way):
    whole, last = uninterrupted
    options = QUICK | {"checkpoint": tmp_path / "run.npz"}
    with monkeypatch.context() as patch:
        advance = mnist_training.Training.advance

        def disturbed(training):
            if way == "signal in a step" and training.step == 2:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)  # the main thread takes it while this step is under way
            advance(training)

        patch.setattr(mnist_training.Training, "advance", disturbed)
        callback = {"callback": stop, "interrupt in the callback": interrupt}.get(way)
        part = mnist.run(DATA, 7, **options, callback=callback)
    assert (part.status, part.steps) == ("interrupted", 3)
    np.testing.assert_array_equal(part.overparameterized.loss, whole.overparameterized.loss[:3])
    same(mnist.run(DATA, 7, **options), whole)
    state = archives.read(tmp_path / "run.npz", 2)[1]
    assert len(state) == len(last) > 30
    for name in state.keys() - {"seconds"}:
        np.testing.assert_array_equal(state[name], last[name])
    assert os.listdir(tmp_path) == ["run.npz"]
    same(mnist.run(DATA, 7, **options), whole)  # nothing is left to do
    with pytest.raises(ValueError, match="steps must be at least the 7 of checkpoint"):
        mnist.run(DATA, 6, **options)


def test_a_checkpoint_is_there_while_the_run_goes_on(torch, tmp_path):
    path, lengths = tmp_path / "run.npz", []

    def callback(*_):
        lengths.append(len(archives.read(path, 2)[1]["losses"]))

    mnist.run(DATA, 3, **QUICK, callback=callback, checkpoint=path, checkpoint_every=0)
    assert lengths == [1, 2, 3]


@pytest.mark.slow
def test_checkpoints_that_do_not_fit(torch, tmp_path):
    options = QUICK | {"checkpoint": tmp_path / "run.npz"}
    mnist.run(DATA, 1, **options)
    other = MnistData(255 - DATA.images, DATA.labels, "digits", "")
    for data, change, message in [
        (DATA, {"seed": 7}, "seed: 0 there, 7 here"),
        (DATA, {"batch": 9}, "batch: 8 there, 9 here"),
        (DATA, {"init": "tutorial"}, "init: .near_zero. there, .tutorial. here"),
        (other, {}, "data: "),
    ]:
        with pytest.raises(ValueError, match=rf"belongs to another run \({message}"):
            mnist.run(data, 2, **options | change)
    whole = (tmp_path / "run.npz").read_bytes()
    described, arrays = archives.read(tmp_path / "run.npz", 2)
    flat = {name: array.ravel() for name, array in arrays.items()}
    archives.write(tmp_path / "flat.npz", described, flat)
    del arrays["tensor3"]
    archives.write(tmp_path / "short.npz", described, arrays)
    torch.save({"settings": described["run"]}, tmp_path / "torch.npz")
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_bytes(b"no checkpoint")
    for name in ("flat", "short", "torch", "cut", "text"):
        path = tmp_path / f"{name}.npz"
        kept = path.read_bytes()
        with pytest.raises(ValueError, match=f"checkpoint .*{name}.npz is not readable") as caught:
            mnist.run(DATA, 2, **options | {"checkpoint": path})
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == kept


def test_divergence_is_a_result(torch, monkeypatch):
    monkeypatch.setattr(mnist_training, "_RATE", 1e6)
    result = mnist.run(DATA, 50, **QUICK)
    assert result.status == "diverged"
    assert result.steps < 50
    assert not np.isfinite(result.original.loss[-1] + result.overparameterized.loss[-1])


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (TypeError, "data must be of type MnistData, got 'MNIST'", {"data": "MNIST"}),
        (ValueError, "steps must be >= 1, got 0", {"steps": 0}),
        (TypeError, r"batch must be an integer, got 8\.0", {"batch": 8.0}),
        (ValueError, "seed must be >= 0, got -1", {"seed": -1}),
        (ValueError, "init must be one of .*; did you mean 'balanced'", {"init": "balance"}),
        (ValueError, "record_every must be >= 1, got 0", {"record_every": 0}),
        (TypeError, "callback must be callable, got 3", {"callback": 3}),
        (TypeError, "checkpoint must be a path, got 3", {"checkpoint": 3}),
        (ValueError, "checkpoint_every must be .* got -1", {"checkpoint_every": -1}),
        (TypeError, "threads .*'2'", {"threads": "2"}),
        (ValueError, "more than batch = 37 images besides the 3 held out, got 40", {"batch": 37}),
    ],
)
def test_bad_arguments(error, message, change):
    with pytest.raises(error, match=message):
        mnist.run(**{"data": DATA, "steps": 2} | QUICK | change)


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'implicit-accel\[torch\]'"):
        mnist.run(DATA, 2, **QUICK)
