"""Replace plain layers of a model by factors, and factors by plain layers."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from accel._core.initializers import factors_of_svd
from accel._support import validation
from accel.torch.factored import ConvFactors, Factored, LinearFactors, wide

__all__ = ["collapse", "overparameterize"]

_INITS = ("function_preserving", "identity", "near_zero")
_NEAR_ZERO = 0.01  # standard deviation, as of LinearNetwork with scale=0.01
_KINDS = (nn.Linear, nn.Conv2d)
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip

Matrices = list[torch.Tensor]


def _eye(rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
    return torch.eye(rows, columns, dtype=like.dtype, device=like.device)


def _padded(matrix: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The matrix in the upper left corner of zeros."""
    out = matrix.new_zeros(rows, columns)
    out[: matrix.shape[0], : matrix.shape[1]] = matrix
    return out


def _balanced(matrix: torch.Tensor, widths: list[int]) -> Matrices:
    """Factors of the matrix with W_{j+1}' W_{j+1} = W_j W_j'."""
    U, sizes, Vh = torch.linalg.svd(wide(matrix), full_matrices=False)
    noise = torch.finfo(matrix.dtype).eps * max(matrix.shape) * sizes[0]
    rank, width = int((sizes > noise).sum()), widths[1]
    if rank == 0:
        raise ValueError("it is zero, and balanced factors of zero never move: take 'identity'")
    if width < rank:
        raise ValueError(f"width must be at least its rank of {rank}, got {width}")
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    factors = factors_of_svd(U, sizes, Vh, shapes, U.new_zeros)
    return [factor.to(matrix.dtype).to(matrix.device) for factor in factors]


def _identity(matrix: torch.Tensor, widths: list[int]) -> Matrices:
    """The matrix as the factor on its larger side, and identities as the others."""
    inputs, width, outputs = widths[0], widths[1], widths[-1]
    if width < min(inputs, outputs):
        raise ValueError(f"width must be at least {min(inputs, outputs)}, got {width}")
    middle = [_eye(width, width, matrix) for _ in widths[2:-1]]
    if outputs <= inputs:
        return [_padded(matrix, width, inputs), *middle, _eye(outputs, width, matrix)]
    return [_eye(width, inputs, matrix), *middle, _padded(matrix, outputs, width)]


def _near_zero(matrix: torch.Tensor, widths: list[int]) -> Matrices:
    """Gaussian factors; of the matrix they keep the device and dtype alone."""
    shapes = zip(widths[1:], widths[:-1], strict=True)
    return [_NEAR_ZERO * matrix.new_empty(shape).normal_() for shape in shapes]


_SPLITS: dict[str, Callable[[torch.Tensor, list[int]], Matrices]] = dict(
    zip(_INITS, (_balanced, _identity, _near_zero), strict=True)
)


def _is_plain(module: nn.Module) -> bool:
    """Whether a layer is one matrix and nothing else, which no subclass promises."""
    if type(module) is nn.Conv2d:
        return bool(
            module.kernel_size == (1, 1) and module.groups == 1 and module.padding_mode == "zeros"
        )
    return type(module) is nn.Linear


def _choose(model: nn.Module, modules: Sequence[Any]) -> dict[nn.Module, str]:
    """The layers to replace, with the first name of each."""
    if not isinstance(modules, tuple | list):
        raise TypeError(f"modules must be a sequence, got {validation.shown(modules)}")
    named = dict(model.named_modules(remove_duplicate=False))
    chosen: dict[nn.Module, str] = {}
    for item in modules:
        if isinstance(item, str):
            if item not in named:
                validation.unknown("modules", item, [name for name in named if name])
            if not _is_plain(named[item]):
                raise ValueError(
                    f"modules must name layers of type nn.Linear or nn.Conv2d, the latter with 1 x "
                    f"1 kernels, one group and zero padding, got {item!r}: "
                    f"{validation.shown(named[item])}"
                )
            chosen.setdefault(named[item], item)
        elif item in _KINDS:
            for name, module in named.items():
                if type(module) is item and _is_plain(module):
                    chosen.setdefault(module, name)
        else:
            raise TypeError(
                f"modules must hold nn.Linear, nn.Conv2d or names, got {validation.shown(item)}"
            )
    if not chosen:
        raise ValueError(f"modules {validation.shown(modules)} select no layer of the model")
    return chosen


def _check_nothing_lost(module: nn.Module, own: set[str]) -> None:
    """Raise ValueError if a layer has hooks, or parameters or modules other than its own."""
    if any(getattr(module, hooks) for hooks in _HOOKS):
        raise ValueError("it has hooks (as of pruning or weight_norm), which would be lost")
    if "forward" in vars(module):
        raise ValueError("it has a forward of its own, which would be lost")
    held = {**module._parameters, **module._buffers, **module._modules}
    if more := held.keys() - own:
        raise ValueError(f"it has {', '.join(sorted(more))} besides, which would be lost")


def _check(module: nn.Module, owners: Counter[nn.Parameter]) -> None:
    """Raise ValueError if a layer cannot be replaced; ``owners`` counts who has a parameter."""
    _check_nothing_lost(module, {"weight", "bias"})
    weight = module.weight
    if owners[weight] > 1:
        raise ValueError("another module has the same weight, which would be tied no more")
    if not weight.is_floating_point() or weight.is_meta or weight.numel() == 0:
        kind = f"{weight.dtype} on {weight.device} of shape {tuple(weight.shape)}"
        raise ValueError(f"its weight must hold real numbers, got {kind}")
    if not weight.isfinite().all():
        raise ValueError("its weight must be finite")


def _named(name: str) -> str:
    """How a message names a layer; the model itself has no name."""
    return f"layer {name!r}" if name else "the layer"


def _factored(module: Any, depth: int, width: int | None, init: str) -> Factored:
    """The layer with factors that replaces a plain one."""
    matrix = module.weight.detach().flatten(1)
    outputs, inputs = matrix.shape
    hidden = min(inputs, outputs) if width is None else width
    parameters = [
        nn.Parameter(factor, requires_grad=module.weight.requires_grad)
        for factor in _SPLITS[init](matrix, [inputs, *[hidden] * (depth - 1), outputs])
    ]
    layer: Factored
    if isinstance(module, nn.Linear):
        layer = LinearFactors(parameters, module.bias)
    else:
        layer = ConvFactors(parameters, module.bias, module.stride, module.padding, module.dilation)
    layer.train(module.training)
    return layer


def _replaced(model: nn.Module, new: dict[nn.Module, nn.Module]) -> nn.Module:
    """Put the new modules wherever the old ones are; shared modules stay shared."""
    if model in new:
        return new[model]
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in new:
            model.set_submodule(name, new[module])
    return model


def overparameterize(
    model: nn.Module,
    depth: int = 2,
    width: int | None = None,
    modules: Sequence[Any] = (nn.Linear, nn.Conv2d),
    init: str = "function_preserving",
) -> nn.Module:
    r"""Give linear layers factors: :math:`W_N \cdots W_1` in place of each matrix W.

    Gradient descent on the factors moves their product by another rule than gradient descent on W
    (theorem 1 of the paper); what the layers can express is the same, and ``collapse`` brings them
    back. Build the optimiser after this: the model has new parameters.

    Parameters
    ----------
    model : Module
        Changed in place: ``copy.deepcopy`` it before, if you need it as it is.
    depth : int
        The number of factors N, at least 2.
    width : int, optional
        Of every layer between two factors; by default min(inputs, outputs) of each layer, the
        least that takes nothing away. Units beyond the rank of W ("function_preserving"), or beyond
        min(inputs, outputs) ("identity"), begin, and remain, at zero.
    modules : sequence of types and names
        What to replace: ``nn.Linear``, ``nn.Conv2d``, and layers by their names in
        ``model.named_modules()``. Only layers of exactly these types, convolutions only with 1 x 1
        kernels, one group and zero padding; others are left as they are, but may not be named.
    init : {"function_preserving", "identity", "near_zero"}
        How the factors begin. ``"function_preserving"``: balanced,
        :math:`W_{j+1}^\top W_{j+1} = W_j W_j^\top`, by the singular value decomposition of W; the
        product is W up to rounding to its dtype, so that bfloat16 loses digits. ``"identity"``: W
        itself and identities, the product being W to the last bit. ``"near_zero"``: Gaussian of
        deviation 0.01, from torch's global generator; W is forgotten, and width may be anything.

    Returns
    -------
    Module
        ``model``; or if that is itself a layer to replace, the new one.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range; if no layer is selected; or if one, by
        its name in the message, cannot be replaced: its weight is tied to another module's, not
        finite, or zero (which balanced factors would never leave), it has more to it than weight
        and bias (hooks, buffers, modules, a ``forward`` of its own), or width is less
        than the rank of W ("function_preserving") or than min(inputs, outputs) ("identity"). The
        model is unchanged then.

    Notes
    -----
    The new layers (``LinearFactors``, ``ConvFactors``) stand where the old ones did, on the same
    device, of the same dtype, trained or frozen and in the same mode. The bias is the same
    Parameter as before. In the state dict ``name.weight`` becomes ``name.factors.0`` (W_1) to
    ``name.factors.N-1``; all else keeps its name.

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509.

    Examples
    --------
    >>> from torch import nn
    >>> from accel.torch import collapse, overparameterize
    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> overparameterize(model)[0]
    LinearFactors(
      widths=(8, 4, 4), bias=True
      (factors): ParameterList(
          (0): Parameter containing: [torch.float32 of size 4x8]
          (1): Parameter containing: [torch.float32 of size 4x4]
      )
    )
    >>> collapse(model)[0]
    Linear(in_features=8, out_features=4, bias=True)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {validation.shown(model)}")
    depth = validation.depth(depth, least=2)
    if width is not None:
        width = validation.integer("width", width, least=1)
    validation.choice("init", init, _INITS)
    chosen = _choose(model, modules)
    owners = Counter(
        parameter
        for module in model.modules()
        for _, parameter in module.named_parameters(recurse=False, remove_duplicate=False)
    )
    new: dict[nn.Module, nn.Module] = {}
    for module, name in chosen.items():
        try:
            _check(module, owners)
            new[module] = _factored(module, depth, width, init)
        except ValueError as error:
            raise ValueError(f"{_named(name)} cannot be overparameterized: {error}") from None
    return _replaced(model, new)


def collapse(model: nn.Module) -> nn.Module:
    """Multiply the factors: every layer that ``overparameterize`` made becomes a plain one again.

    Parameters
    ----------
    model : Module
        Changed in place. One without such layers stays as it is.

    Returns
    -------
    Module
        ``model``; or if that is itself such a layer, the plain one.

    Raises
    ------
    TypeError
        If ``model`` is no module.
    ValueError
        If one of the layers has hooks, or else more to it than factors and bias, which would be
        lost. The model is unchanged then.

    Notes
    -----
    The product is formed in float64 and rounded once. Names, devices, dtypes, mode and biases are
    kept, as by ``overparameterize``; a weight needs a gradient if a factor did.

    Examples
    --------
    >>> from torch import nn
    >>> from accel.torch import collapse, overparameterize
    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> collapse(overparameterize(model, depth=3))
    Sequential(
      (0): Linear(in_features=8, out_features=4, bias=True)
      (1): ReLU()
      (2): Linear(in_features=4, out_features=1, bias=True)
    )
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {validation.shown(model)}")
    new: dict[nn.Module, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, Factored):
            try:
                _check_nothing_lost(module, {"factors", "bias"})
            except ValueError as error:
                raise ValueError(f"{_named(name)} cannot be collapsed: {error}") from None
            new[module] = module.plain()
    return _replaced(model, new)
