"""Circuits, backends and gradients: what needs a QPU or the picture of one."""

from hybrid.gradients import (
    SPSA,
    Adjoint,
    Backprop,
    FiniteDifference,
    Gradient,
    ParameterShift,
    Plan,
)
from hybrid.layer import QuantumLayer
from hybrid.objective import Objective, Value
from hybrid.pennylane_circuits import from_pennylane

__all__ = [
    "SPSA",
    "Adjoint",
    "Backprop",
    "FiniteDifference",
    "Gradient",
    "Objective",
    "ParameterShift",
    "Plan",
    "QuantumLayer",
    "Value",
    "from_pennylane",
]
