"""Bad calls of the parts that need an extra: the estimator, PyTorch and dask."""

import numpy as np
import pytest

from accel import LpProblem

from .refusing import refused

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
NAN = float("nan")

ESTIMATOR = [
    (ValueError, "p must be finite and >= 1, got 0.5", {"p": 0.5}),
    (TypeError, "p must be a real number, got '4'", {"p": "4"}),
    (TypeError, "p must be a real number, got True", {"p": True}),
    (ValueError, "p must be .*got nan", {"p": NAN}),
    (ValueError, "solver must be one of .*did you mean 'newton'", {"solver": "newtn"}),
    (TypeError, "solver must be one of .*got None", {"solver": None}),
    (ValueError, "depth must be >= 1 and <= 10000, got 0", {"depth": 0}),
    (ValueError, "depth must be >= 1 and <= 10000, got 20000", {"depth": 20_000}),
    (TypeError, "depth must be an integer, got 2.0", {"depth": 2.0}),
    (ValueError, "width must be >= 1, got -1", {"width": -1}),
    (ValueError, "optimizer must be one of .*'adm'; did you mean 'adam'", {"optimizer": "adm"}),
    (ValueError, "optimizer must be one of .*got 'end-to-end'", {"optimizer": "end-to-end"}),
    (ValueError, "learning_rate must be finite and > 0, got 0", {"learning_rate": 0}),
    (ValueError, "learning_rate must be one of auto, got 'aut'", {"learning_rate": "aut"}),
    (TypeError, "learning_rate must be a real number, got None", {"learning_rate": None}),
    (ValueError, "weight_decay must be finite and >= 0, got -1", {"weight_decay": -1}),
    (ValueError, "weight_decay must be 0 for solver 'newton', got 1",
     {"weight_decay": 1, "solver": "newton"}),
    (TypeError, "fit_intercept must be True or False, got 1", {"fit_intercept": 1}),
    (TypeError, "standardize must be True or False, got 'no'", {"standardize": "no"}),
    (TypeError, r"warm_start must be True or False, got array\(\[1, 2\]\)",
     {"warm_start": np.array([1, 2])}),
    (ValueError, "l1 must be finite and >= 0, got -1", {"l1": -1}),
    (TypeError, "l2 must be a real number, got '1'", {"l2": "1"}),
    (TypeError, "nonnegative must be True or False, got 1", {"nonnegative": 1}),
    (ValueError, "nonnegative is for Newton's method, got nonnegative=True with solver='gradient': "
     "take solver='newton'", {"nonnegative": True, "solver": "gradient"}),
    (ValueError, "l1 is for Newton's .* got l1=0.1 with solver='end_to_end'",
     {"l1": 0.1, "solver": "end_to_end"}),
    (ValueError, "l2 is for Newton's .* with weight_decay=1: leave it out, l2 is another",
     {"l2": 0.1, "weight_decay": 1}),
    (ValueError, "max_iter must be >= 1, got 0", {"max_iter": 0}),
    (TypeError, "max_iter must be an integer, got 1000.0", {"max_iter": 1e3}),
    (ValueError, "tol must be finite and > 0, got 0", {"tol": 0}),
    (ValueError, "backend must be one of .*'cdua'; did you mean 'cuda'", {"backend": "cdua"}),
    (ValueError, "random_state|seed", {"random_state": "x", "depth": 2, "solver": "gradient"}),
    (ValueError, "X .*NaN", {"X": [[NAN]] * 6}),
    (ValueError, "y .*NaN", {"y": [NAN] * 6}),
    (ValueError, "X .*infinity", {"X": [[np.inf]] * 6}),
    (ValueError, "inconsistent numbers of samples", {"y": y[:5]}),
    (ValueError, "0 sample", {"X": X[:0], "y": y[:0]}),
    (ValueError, "0 feature", {"X": X[:, :0]}),
    (ValueError, "[Ss]ample.weights? must", {"sample_weight": np.zeros(6)}),
    (ValueError, "Negative values .*sample_weight", {"sample_weight": -np.ones(6)}),
    (ValueError, "sample_weight", {"sample_weight": np.ones(5)}),
]  # fmt: skip


#: Of the estimators of any loss, what ``LpRegressor`` has not.
ANY_LOSS = [
    (TypeError, "loss must be of accel.losses, as Huber.1.35., got 1.35", {"loss": 1.35}),
    (ValueError, "loss must be one of .*'hubr'; did you mean 'huber'", {"loss": "hubr"}),
    (ValueError, "delta must be finite and > 0, got 0", {"loss": "huber(0)"}),
    (TypeError, "logistic takes nothing", {"loss": "logistic(1)"}),
    (ValueError, "solver must be one of auto, newton, gradient, got 'end_to_end'",
     {"solver": "end_to_end"}),
    (ValueError, "weight_decay must be 0 for solver 'newton', got 1: take solver 'gradient'$",
     {"weight_decay": 1, "solver": "newton"}),
    (ValueError, "y .*NaN", {"y": [NAN] * 6}),
]  # fmt: skip
OWN = {
    "p", "l1", "l2", "nonnegative", "sample_weight", "warm_start", "y", "solver", "weight_decay",
}  # fmt: skip
OF_ALL = [row for row in ESTIMATOR if not OWN & set(row[2])]


def fit_refuses(name, kind, match, arguments, y):
    """Check that an estimator of that name, with these parameters and data, refuses to fit."""
    data = {"X": X, "y": y}
    if "sample_weight" in arguments:
        data["sample_weight"] = None
    data |= {name: arguments[name] for name in data if name in arguments}
    parameters = {k: v for k, v in arguments.items() if k not in data}
    model = getattr(pytest.importorskip("accel.sklearn"), name)(**parameters)
    with pytest.raises(kind, match=match):
        model.fit(**data)


@pytest.mark.parametrize(("kind", "match", "arguments"), ESTIMATOR)
def test_estimator(kind, match, arguments):
    fit_refuses("LpRegressor", kind, match, arguments, y)


@pytest.mark.parametrize("name", ["LinearFit", "LinearClassifier"])
@pytest.mark.parametrize(("kind", "match", "arguments"), OF_ALL + ANY_LOSS)
def test_estimators_of_any_loss(name, kind, match, arguments):
    fit_refuses(name, kind, match, arguments, y if name == "LinearFit" else y > 2)


@pytest.mark.parametrize(("name", "kind", "match", "arguments"), [
    ("LinearFit", ValueError, r"loss must be one of numbers, got Logistic\(\): take LinearClass",
     {"loss": "logistic"}),
    ("LinearFit", TypeError, "y must hold numbers, got text", {"y": ["a"] * 6}),
    ("LinearFit", ValueError, "inconsistent numbers of samples", {"y": y[:5]}),
    ("LinearFit", ValueError, "Negative values .*sample_weight", {"sample_weight": -np.ones(6)}),
    ("LinearFit", ValueError, r"integers, or .* for Huber.*, got 1.41421 and 1",
     {"loss": "huber", "sample_weight": [1, 1, 2**0.5, 1, 1, 1]}),
    ("LinearClassifier", ValueError, r"loss must be one of labels, got Lp\(.*: take LinearFit",
     {"loss": "lp(2)"}),
    ("LinearClassifier", ValueError, "Only binary classification .* got 6 classes",
     {"loss": "exponential"}),
    ("LinearClassifier", ValueError, "y must hold 3 classes .* got 6",
     {"loss": "cross-entropy(3)"}),
    ("LinearClassifier", ValueError, "two classes at least, got 1", {"y": np.ones(6)}),
    ("LinearClassifier", ValueError, "inconsistent numbers of samples", {"y": y[:5]}),
])  # fmt: skip
def test_losses_and_targets(name, kind, match, arguments):
    fit_refuses(name, kind, match, arguments, y)


def torch_rows(torch):
    from accel.torch import ConvFactors, EndToEndSGD, LinearFactors, collapse, overparameterize

    linear, one = torch.nn.Linear, torch.nn.Parameter(torch.ones(2, 3))
    weights = [torch.nn.Parameter(torch.ones(2, 2))]
    return [
        (TypeError, "model must be a torch.nn.Module, got None", lambda: overparameterize(None)),
        (TypeError, "model must be a torch.nn.Module, got <", lambda: overparameterize(linear)),
        (ValueError, "depth must be >= 2 and <= 10000, got 1",
         lambda: overparameterize(linear(3, 2), 1)),
        (ValueError, "depth must be >= 2 and <= 10000, got 1000000000",
         lambda: overparameterize(linear(3, 2), 10**9)),
        (ValueError, "width must be >= 1, got 0", lambda: overparameterize(linear(3, 2), width=0)),
        (ValueError, "width must be at least 2, got 1",
         lambda: overparameterize(linear(3, 2), width=1, init="identity")),
        (ValueError, "init must be one of .*did you mean 'identity'",
         lambda: overparameterize(linear(3, 2), init="identiy")),
        (TypeError, "modules must be a sequence, got 'fc'",
         lambda: overparameterize(linear(3, 2), modules="fc")),
        (ValueError, "modules must be one of .*got 'fc1'; did you mean 'fc'",
         lambda: overparameterize(torch.nn.ModuleDict({"fc": linear(3, 2)}), modules=["fc1"])),
        (TypeError, "modules must hold nn.Linear, nn.Conv2d or names, got 3",
         lambda: overparameterize(linear(3, 2), modules=[3])),
        (TypeError, "model must be a torch.nn.Module, got 3", lambda: collapse(3)),
        (ValueError, "depth must be >= 1 and <= 10000, got 1000000000000",
         lambda: EndToEndSGD(weights, 0.1, 10**12)),
        (ValueError, "lr must be finite and >= 0, got -1", lambda: EndToEndSGD(weights, -1, 2)),
        (ValueError, "lr must be finite and >= 0, got -1.0",
         lambda: EndToEndSGD(weights, torch.tensor(-1.0), 2)),
        (ValueError, "lr must be finite and >= 0, got nan",
         lambda: EndToEndSGD(weights, torch.tensor([NAN]), 2)),
        (TypeError, "lr must be a real number, got 1j",
         lambda: EndToEndSGD(weights, torch.tensor(1j), 2)),
        (TypeError, r"lr must be a real number, got tensor\(\[1., 1.\]\)",
         lambda: EndToEndSGD(weights, torch.ones(2), 2)),
        (ValueError, "momentum must be .*got 1", lambda: EndToEndSGD(weights, 1, 2, momentum=1)),
        (ValueError, "weight_decay must be .*got -1",
         lambda: EndToEndSGD(weights, 1, 2, weight_decay=-1)),
        (TypeError, "params must be real, got one of dtype torch.complex64",
         lambda: EndToEndSGD([torch.nn.Parameter(torch.ones(2, 2) * 1j)], 1, 2)),
        (ValueError, "factors must not be empty", lambda: LinearFactors([])),
        (TypeError, "factors must be a sequence, got None", lambda: LinearFactors(None)),
        (TypeError, r"factors\[0\] must be a Parameter, got array", lambda: LinearFactors([X])),
        (ValueError, r"factors\[1\] must have shape \(n, 2\) and not be empty, got \(2, 3\)",
         lambda: ConvFactors([one, one])),
        (ValueError, r"factors\[0\] must have 2 dimensions and not be empty, got \(2,\)",
         lambda: LinearFactors([torch.nn.Parameter(torch.ones(2))])),
        (ValueError, r"bias must have shape \(2,\), got \(3,\)",
         lambda: LinearFactors([one], torch.nn.Parameter(torch.ones(3)))),
        (TypeError, "bias must be a Parameter or None, got True", lambda: ConvFactors([one], True)),
        (ValueError, "X cannot be read: .*requires grad",
         lambda: LpProblem(torch.ones(2, 2, requires_grad=True), [1, 2])),
        (ValueError, "y must be finite.*nan", lambda: LpProblem(X[:2], torch.tensor([1.0, NAN]))),
        (TypeError, "X must hold real numbers, got dtype complex64",
         lambda: LpProblem(torch.ones(2, 2) * 1j, [1, 2])),
        (ValueError, "X ", lambda: LpProblem(torch.ones(2, 2).to_sparse(), [1, 2])),
        (ValueError, "X ", lambda: LpProblem(torch.ones(2, 2, device="meta"), [1, 2])),
        (ValueError, "X ", lambda: LpProblem(torch.ones(2, 2, dtype=torch.bfloat16), [1, 2])),
    ]  # fmt: skip


def test_torch():
    for row in torch_rows(pytest.importorskip("torch")):
        refused(*row)


@pytest.mark.filterwarnings("ignore:Dashboard|Port.*in use:UserWarning")
def test_dask(tmp_path):
    pytest.importorskip("distributed")
    distributed = pytest.importorskip("accel.distributed")
    array = pytest.importorskip("dask.array")
    there, targets = array.from_array(X, chunks=3), array.from_array(y, chunks=3)
    DaskProblem, from_npy = distributed.DaskProblem, distributed.from_npy
    np.save("objects.npy", np.array([[{}]], dtype=object))
    np.save("scalar.npy", 3.0)
    np.save("fortran.npy", np.asfortranarray(np.ones((3, 2))))
    np.save("good.npy", X)
    np.savez("archive.npy.npz", X=X)
    (tmp_path / "text.npy").write_text("1,2")
    (tmp_path / "archive.npz").write_bytes((tmp_path / "archive.npy.npz").read_bytes())
    for row in [
        (TypeError, "X must be a dask array, got array", lambda: DaskProblem(X, targets)),
        (TypeError, "y must be a dask array, got None", lambda: DaskProblem(there, None)),
        (TypeError, "X must hold real numbers, got dtype complex128",
         lambda: DaskProblem(there * 1j, targets)),
        (ValueError, "X must have 2 dimensions", lambda: DaskProblem(targets, targets)),
        (ValueError, "X must have chunks of known sizes",
         lambda: DaskProblem(there[there[:, 0] > 1], targets)),
        (ValueError, "X must not be empty", lambda: DaskProblem(there[:0], targets)),
        (ValueError, "X and y must have as many rows", lambda: DaskProblem(there, targets[:4])),
        (ValueError, "p must be .*got 0", lambda: DaskProblem(there, targets, 0)),
        (TypeError, "dtype must be float32 or float64, got 'int'",
         lambda: DaskProblem(there, targets, dtype="int")),
        (ValueError, "keep must be 'auto', True or False, got 'allways'",
         lambda: DaskProblem(there, targets, keep="allways")),
        (ValueError, r"keep must be 'auto', True or False, got array\(\[1, 2\]\)",
         lambda: DaskProblem(there, targets, keep=np.array([1, 2]))),
        (TypeError, "client must be a distributed.Client that is not asynchronous, got 3",
         lambda: DaskProblem(there, targets, client=3)),
        (ValueError, "client must be given, or made before",
         lambda: DaskProblem(there, targets)),
        (TypeError, "path must be a path, got None", lambda: from_npy(None)),
        (FileNotFoundError, "nosuch.npy", lambda: from_npy("nosuch.npy")),
        (IsADirectoryError, "Is a directory", lambda: from_npy(".")),
        (ValueError, "/dev/zero: no regular file", lambda: from_npy("/dev/zero")),
        (ValueError, "text.npy: not readable: .*magic", lambda: from_npy("text.npy")),
        (ValueError, "archive.npz: not readable: it is a .npz", lambda: from_npy("archive.npz")),
        (ValueError, "objects.npy: not readable: .*never loaded", lambda: from_npy("objects.npy")),
        (ValueError, r"scalar.npy must hold an array of rows in C order, got shape \(\)",
         lambda: from_npy("scalar.npy")),
        (ValueError, "fortran.npy must hold an array of rows in C order",
         lambda: from_npy("fortran.npy")),
        (ValueError, "rows must be >= 1, got 0", lambda: from_npy("good.npy", 0)),
        (TypeError, "rows must be an integer, got 2.5", lambda: from_npy("good.npy", 2.5)),
    ]:  # fmt: skip
        refused(*row)
