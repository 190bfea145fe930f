import dataclasses

import pytest

import accel
from accel._core.optimizers import OPTIMIZERS, by_name
from accel.kernels import specs

# class name, positional arguments, rule
RULES = [
    ("GradientDescent", (0.5,), (specs.GRADIENT_DESCENT, (0.5, 0, 0, 0, 0))),
    ("Momentum", (0.5,), (specs.MOMENTUM, (0.5, 0, 0.9, 0, 0))),
    ("Momentum", (0.5, 0.8), (specs.MOMENTUM, (0.5, 0, 0.8, 0, 0))),
    ("Nesterov", (0.5,), (specs.NESTEROV, (0.5, 0, 0.9, 0, 0))),
    ("AdaGrad", (), (specs.ADAGRAD, (0.01, 0, 0, 0, 1e-10))),
    ("AdaDelta", (), (specs.ADADELTA, (1.0, 0, 0.9, 0, 1e-6))),
    ("RMSProp", (), (specs.RMSPROP, (0.01, 0, 0.99, 0, 1e-8))),
    ("Adam", (), (specs.ADAM, (0.001, 0, 0.9, 0.999, 1e-8))),
    ("Adam", (0.1, 0.2, 0.3, 0.4), (specs.ADAM, (0.1, 0, 0.2, 0.3, 0.4))),
    ("EndToEnd", (0.5, 3), (specs.END_TO_END, (0.5, 0, 3, 0, 0))),
    ("GroupRMSProp", (), (specs.GROUP_RMSPROP, (0.01, 0, 0.99, 0, 1e-6))),
    ("GroupRMSProp", (0.1, 0.5, 0.2, "factor"), (specs.GROUP_RMSPROP, (0.1, 0, 0.5, 1, 0.2))),
    ("Langevin", (0.1, 0.5), (specs.LANGEVIN, (0.1, 0, 0.5, 0, 0))),
    ("Langevin", (0.1, 0, 2**53), (specs.LANGEVIN, (0.1, 0, 0, 2**53, 0))),
]


@pytest.mark.parametrize(("name", "arguments", "rule"), RULES)
def test_rule(name, arguments, rule):
    optimizer = getattr(accel, name)(*arguments)
    assert optimizer.rule == specs.Rule(*rule)
    assert isinstance(optimizer, accel.Optimizer)
    decayed = dataclasses.replace(optimizer, weight_decay=0.25)
    assert decayed.rule.hyper[1] == 0.25
    assert optimizer == getattr(accel, name)(*arguments) != decayed
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimizer.learning_rate = 1.0


def test_every_rule_has_an_optimizer():
    kinds = [cls._kind for cls in OPTIMIZERS.values()]
    assert kinds == list(range(10))
    assert all(name == name.lower() and len(name) <= 13 for name in OPTIMIZERS)


def test_weight_decay_is_keyword_only():
    with pytest.raises(TypeError):
        accel.GradientDescent(0.1, 0.1)


BAD = [
    (ValueError, "learning_rate .*-0.1", "GradientDescent", {"learning_rate": -0.1}),
    (ValueError, "learning_rate .*nan", "Adam", {"learning_rate": float("nan")}),
    (ValueError, "learning_rate .*inf", "AdaGrad", {"learning_rate": float("inf")}),
    (TypeError, "learning_rate .*'0.1'", "Adam", {"learning_rate": "0.1"}),
    (TypeError, "learning_rate .*None", "Momentum", {"learning_rate": None}),
    (ValueError, "weight_decay .*-1", "Adam", {"weight_decay": -1}),
    (ValueError, "momentum .*1.0", "Momentum", {"learning_rate": 1, "momentum": 1.0}),
    (ValueError, "momentum .*-0.5", "Nesterov", {"learning_rate": 1, "momentum": -0.5}),
    (ValueError, "rho .*1", "AdaDelta", {"rho": 1}),
    (ValueError, "alpha .*1.5", "RMSProp", {"alpha": 1.5}),
    (ValueError, "beta1 .*1", "Adam", {"beta1": 1}),
    (ValueError, "beta2 .*-1", "Adam", {"beta2": -1}),
    (ValueError, "eps .*0", "Adam", {"eps": 0}),
    (ValueError, "eps .*-1e-08", "AdaGrad", {"eps": -1e-8}),
    (ValueError, "depth .*0", "EndToEnd", {"learning_rate": 1, "depth": 0}),
    (ValueError, "alpha .*1", "GroupRMSProp", {"alpha": 1}),
    (ValueError, "eps .*0", "GroupRMSProp", {"eps": 0.0}),
    (ValueError, "scale .*network, factor.*'layer'", "GroupRMSProp", {"scale": "layer"}),
    (TypeError, "scale .*network, factor.*1", "GroupRMSProp", {"scale": 1}),
    (TypeError, "depth .*2.0", "EndToEnd", {"learning_rate": 1, "depth": 2.0}),
    (ValueError, "temperature .*-1", "Langevin", {"learning_rate": 1, "temperature": -1}),
    (ValueError, "seed .*-1", "Langevin", {"learning_rate": 1, "temperature": 1, "seed": -1}),
    (TypeError, "seed .*1.0", "Langevin", {"learning_rate": 1, "temperature": 1, "seed": 1.0}),
]


@pytest.mark.parametrize(("error", "match", "name", "arguments"), BAD)
def test_bad_values(error, match, name, arguments):
    with pytest.raises(error, match=match):
        getattr(accel, name)(**arguments)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_by_name(name):
    constants = {"end-to-end": {"depth": 2}, "langevin": {"temperature": 0.1}}.get(name, {})
    optimizer = by_name(name, 0.25, weight_decay=0.5, **constants)
    assert optimizer == OPTIMIZERS[name](0.25, weight_decay=0.5, **constants)
    assert optimizer.name == name
    assert by_name(type(optimizer).__name__, 0.25, weight_decay=0.5, **constants) == optimizer
    assert by_name(name.upper(), 0.25, weight_decay=0.5, **constants) == optimizer


def test_by_name_takes_spellings_and_defaults():
    assert by_name("adam") == accel.Adam()
    assert by_name("end_to_end", 0.1, depth=4) == accel.EndToEnd(0.1, 4)
    assert by_name("grouprmsprop", scale="factor") == accel.GroupRMSProp(scale="factor")
    assert by_name("gradient-descent", 0.1) == accel.GradientDescent(0.1)


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "optimizer .*'adm'.*did you mean 'adam'", ("adm", 0.1)),
        (ValueError, "optimizer .*'lbfgs'", ("lbfgs", 0.1)),
        (TypeError, "optimizer .*3", (3, 0.1)),
        (TypeError, "gd needs .*learning_rate", ("gd",)),
        (TypeError, "end-to-end needs .*depth", ("end-to-end", 0.1)),
        (ValueError, "learning_rate .*-1", ("gd", -1)),
    ],
)
def test_by_name_checks_its_input(error, match, arguments):
    with pytest.raises(error, match=match):
        by_name(*arguments)


def test_by_name_knows_what_an_optimizer_takes():
    with pytest.raises(TypeError, match=r"gd has no parameter 'momentum', only learning_rate"):
        by_name("gd", 0.1, momentum=0.9)
