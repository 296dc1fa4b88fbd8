"""What compression did to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """What became of one layer."""

    name: str
    shape: tuple[int, int]
    """Outputs and inputs of the weight as a matrix."""
    form: str
    """Structure, and rank or share: "pivoted 96", "dense"."""
    parameters_before: int
    parameters: int
    predicted_loss: float
    """In nats per row of the layer with fewest rows, by the damped metric."""

    @property
    def kept(self) -> float:
        """Parameters after over parameters before, the bias in neither."""
        return self.parameters / self.parameters_before


@dataclass(frozen=True, kw_only=True)
class CompressionReport:
    """What became of the chosen layers of a model.

    Printed, it is a table of the layers by kind of name and one line of totals.
    """

    unit: str
    budget: float
    """Asked for: a fraction of the cost of the chosen layers."""
    layers: tuple[LayerReport, ...]
    costs_before: Mapping[str, float]
    costs: Mapping[str, float]
    """Of the chosen layers in all, by unit."""
    model_parameters_before: int
    model_parameters: int
    """Of the whole model, embeddings, norms and biases included."""
    predicted_loss: float
    """Sum over the layers, each compressed alone; a guide at large changes, not a forecast."""
    gap: float
    """At most so much below `predicted_loss` is the least sum that any choice of the forms has."""
    num_rows: int
    """Calibration rows of the layer with fewest."""
    seconds: Mapping[str, float]
    """Wall seconds of each step."""

    @property
    def kept(self) -> float:
        """Cost after over cost before, of the chosen layers in the unit of the budget."""
        return self.costs[self.unit] / self.costs_before[self.unit]

    def layer(self, name: str) -> LayerReport:
        """The report of one layer.

        Raises:
            KeyError: No chosen layer has this name.
        """
        found = next((each for each in self.layers if each.name == name), None)
        if found is None:
            raise KeyError(
                f"No layer `{name}` was chosen; those that were are {[each.name for each in self.layers]}."
            )
        return found

    def __str__(self) -> str:
        kinds: dict[str, list[LayerReport]] = {}
        for each in self.layers:
            kinds.setdefault(each.name.rpartition(".")[2], []).append(each)
        lines = [f"{'layers':<16}{'number':>7}{'dense':>7}{'kept':>8}{'predicted loss':>16}"]
        for kind, reports in kinds.items():
            kept = sum(r.parameters for r in reports) / sum(r.parameters_before for r in reports)
            loss = sum(r.predicted_loss for r in reports)
            dense = sum(r.form == "dense" for r in reports)
            lines.append(f"{kind:<16}{len(reports):>7}{dense:>7}{kept:>8.3f}{loss:>16.4g}")
        lines.append(
            f"{self.kept:.3f} of the {self.unit.replace('_', ' ')} of {len(self.layers)} layers kept, asked for "
            f"{self.budget:g}; the whole model has {self.model_parameters:,} parameters of "
            f"{self.model_parameters_before:,}; {sum(self.seconds.values()):.0f} s"
        )
        return "\n".join(lines)
