"""Low-rank adapters: the rival of training a compressed layer's own factors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain
from typing import TypeAlias, TypeGuard, final

import torch
from torch import Tensor, nn

from qtn.layers import AbstractTensorLayer
from qtn.layers.base import random_factor
from qtn.storage.quantized_linear import QuantizedLinear, QuantizedMatrix

LinearLayer: TypeAlias = nn.Linear | AbstractTensorLayer | QuantizedLinear


@final
class LowRankAdapter(nn.Module):
    """base(x) + scale * (x @ down.T) @ up.T, with a frozen base and `up` zero at the start.

    Attributes:
        base: A linear layer, whose parameters are frozen: `torch.nn.Linear`, a tensor layer or a quantised one.
        down: Parameter (rank, in_features), entries of variance 1 / in_features when made.
        up: Parameter (out_features, rank), zero when made.
        scale: A fixed factor, alpha / rank in the source.

    Raises:
        ValueError: The rank is not between 1 and min(out_features, in_features).

    Source: E. J. Hu et al., LoRA, ICLR 2022, arXiv:2106.09685, equation 3.
    """

    def __init__(
        self,
        base: LinearLayer,
        rank: int,
        *,
        generator: torch.Generator,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        largest = min(base.out_features, base.in_features)
        if not 1 <= rank <= largest:
            raise ValueError(
                f"Argument `rank` must be between 1 and min(out_features, in_features) = {largest}, "
                f"but is {rank}."
            )
        self.base = base.requires_grad_(False)
        self.scale = scale
        down = random_factor(
            (rank, base.in_features),
            1.0 / base.in_features,
            generator=generator,
            dtype=_dtype_of(base),
            device=next(chain(base.parameters(), base.buffers())).device,
        )
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(down.new_zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:  # shapes: (*batch, in_features) -> (*batch, out_features)
        """The base's output, and the low-rank change."""
        return self.base(x) + self.scale * (x @ self.down.T @ self.up.T)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A linear layer of its own with the same map, frozen like the base.

        Raises:
            TypeError: The base is another linear layer, whose structure the sum would not have.
        """
        if not isinstance(self.base, nn.Linear):
            raise TypeError(
                f"The base of a merged adapter must be a torch.nn.Linear, but is a {type(self.base).__name__}."
            )
        linear = copy.deepcopy(self.base)
        linear.weight = nn.Parameter(
            linear.weight + self.scale * (self.up @ self.down), requires_grad=linear.weight.requires_grad
        )
        return linear


def add_adapters(
    model: nn.Module,
    rank: int,
    names: Sequence[str] | None = None,
    *,
    generator: torch.Generator,
    scale: float = 1.0,
) -> nn.Module:
    """A copy of a model with adapters around linear layers: it gives what the model gives.

    `heal(..., trainable=adapter_parameters(copy))` trains them alone.

    Args:
        model: Any module, left as it is.
        rank: Of every adapter.
        names: Layers, as in `model.named_modules()`: tensor or quantised ones, or of the very type
            `torch.nn.Linear`. None takes all that are not a factor of another and whose parameters are no other
            module's, which leaves out an output head tied to its embedding. Factors can be named themselves;
            `to_dense` of their layer then works again after merging.
        generator: For `down`.
        scale: See `LowRankAdapter`.

    Raises:
        ValueError: A name is not that of such a layer, there is none, a layer is named together with a factor of
            it, or a rank is out of range.

    Cost: a deep copy, and rank * (in_features + out_features) parameters for each layer.
    """
    adapted = copy.deepcopy(model)
    modules = dict(adapted.named_modules(remove_duplicate=False))
    layers = {name: module for name, module in modules.items() if _can_be_base(module)}
    if names is None:
        inner = {id(part) for each in layers.values() for part in each.modules() if part is not each}
        chosen = [
            name
            for name, layer in layers.items()
            if id(layer) not in inner and not _is_shared(layer, modules)
        ]
    else:
        chosen = list(names)
    unknown = [name for name in chosen if name not in layers]
    if unknown or not chosen:
        raise ValueError(
            f"Argument `names` must name linear layers of the model, which are {list(layers)}, "
            f"but names {unknown}."
        )
    nested = [
        name for name in chosen for other in chosen if name.startswith(f"{other}.") or (name and not other)
    ]
    if nested:
        raise ValueError(f"Argument `names` must not name a layer together with its factors {nested}.")
    made: dict[int, LowRankAdapter] = {}
    for name in chosen:
        layer = layers[name]
        if id(layer) in made:
            continue
        adapter = LowRankAdapter(layer, rank, generator=generator, scale=scale)
        made[id(layer)] = adapter.train(layer.training)
        if layer is adapted:
            return adapter
        for alias in [alias for alias, module in layers.items() if module is layer]:
            adapted.set_submodule(alias, adapter)
    return adapted


def merge_adapters(model: nn.Module) -> nn.Module:
    """A copy of a model with its adapters on `torch.nn.Linear` merged into new linear layers.

    Adapters on other layers stay as they are. A merged layer is untied from modules it shared its weight with.

    Cost: a deep copy, and one product of the factors for each adapter.
    """
    merged = copy.deepcopy(model)
    done: dict[int, nn.Linear] = {}
    for name, module in list(merged.named_modules(remove_duplicate=False)):
        if not (isinstance(module, LowRankAdapter) and isinstance(module.base, nn.Linear)):
            continue
        if id(module) not in done:
            done[id(module)] = module.merged()
        linear = done[id(module)]
        if module is merged:
            return linear
        merged.set_submodule(name, linear)
    return merged


def adapter_parameters(model: nn.Module) -> list[str]:
    """Names of the parameters `down` and `up` of all adapters, as in `model.named_parameters()`."""
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, LowRankAdapter)
        for name in ("down", "up")
    ]


def _can_be_base(module: nn.Module) -> TypeGuard[LinearLayer]:
    return type(module) is nn.Linear or isinstance(module, (AbstractTensorLayer, QuantizedLinear))


def _dtype_of(base: LinearLayer) -> torch.dtype:
    """Of the weight; factors may be quantised, too."""
    quantised = [module.dtype for module in base.modules() if isinstance(module, QuantizedMatrix)]
    return quantised[0] if quantised else next(base.parameters()).dtype


def _is_shared(layer: nn.Module, modules: dict[str, nn.Module]) -> bool:
    """Whether another module holds one of the layer's parameters itself."""
    own = {id(each): True for each in layer.parameters()}
    inside = {id(module) for module in layer.modules()}
    return any(
        id(each) in own
        for module in modules.values()
        if id(module) not in inside
        for each in module.parameters(recurse=False)
    )
