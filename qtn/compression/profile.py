"""What every layer of a model would lose in every form, predicted from calibration data and measured beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from qtn.calibration.matrices import as_matrix_layer
from qtn.calibration.statistics import LayerStatistics
from qtn.compression.choosing import Candidate
from qtn.compression.forms import Form, forms_of


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The forms of each layer, and the statistics that their losses come from."""

    forms: Mapping[str, Mapping[str, Form]]
    """For each layer, forms by name, "dense" among them."""
    statistics: Mapping[str, LayerStatistics]
    scales: Mapping[str, float]
    """For each layer, rows over those of the layer with fewest: what makes losses of layers add up."""

    def loss(self, layer: str, form: str) -> float:
        """The predicted loss change in nats per row of the layer with fewest rows."""
        return self.scales[layer] * self.forms[layer][form].loss

    def candidates(self) -> dict[str, list[Candidate]]:
        """What `choose` takes."""
        return {
            layer: [
                Candidate(
                    name=name, loss=self.loss(layer, name), costs=_scaled(form.costs, self.scales[layer])
                )
                for name, form in forms.items()
            ]
            for layer, forms in self.forms.items()
        }


def profile(
    model: nn.Module, statistics: Mapping[str, LayerStatistics], structures: Sequence[str], damping: float
) -> Profile:
    """The forms of the layers that the statistics name.

    Raises:
        ValueError: A weight holds NaN or infinity, which the message says with the layer.

    Cost: see `forms_of`; layers are worked on one after the other, so memory is that of the largest.
    """
    forms: dict[str, dict[str, Form]] = {}
    for name, each in statistics.items():
        try:
            forms[name] = forms_of(
                as_matrix_layer(model.get_submodule(name)), each.metric(damping), structures
            )
        except ValueError as error:
            raise ValueError(f"Layer `{name}` cannot be compressed: {error}") from error
    fewest = min(each.num_rows for each in statistics.values())
    scales = {name: each.num_rows / fewest for name, each in statistics.items()}
    return Profile(forms=forms, statistics=statistics, scales=scales)


def _scaled(costs: Mapping[str, float], scale: float) -> dict[str, float]:
    """Operations are those for one row of the model: a layer with more rows does more."""
    return {name: cost * scale if name == "operations" else cost for name, cost in costs.items()}
