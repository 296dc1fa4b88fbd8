"""Circuits, backends and gradients: what needs a QPU or the picture of one."""

from hybrid.differentiable import Differentiable
from hybrid.explaining import explain
from hybrid.gradients import (
    SPSA,
    Adjoint,
    Backprop,
    CommutingGenerators,
    CoordinateSubset,
    FiniteDifference,
    Gradient,
    HadamardTest,
    ParameterShift,
    Plan,
)
from hybrid.layer import QuantumLayer
from hybrid.metrics import BlockDiagonalMetric, ExactMetric, NaturalGradient, SPSAMetric
from hybrid.objective import Objective, Value
from hybrid.pennylane_circuits import from_pennylane
from hybrid.qiskit_estimator import SimulatorEstimator
from hybrid.torch_qnode import torch_qnode

__all__ = [
    "SPSA",
    "Adjoint",
    "Backprop",
    "BlockDiagonalMetric",
    "CommutingGenerators",
    "CoordinateSubset",
    "Differentiable",
    "ExactMetric",
    "FiniteDifference",
    "Gradient",
    "HadamardTest",
    "NaturalGradient",
    "Objective",
    "ParameterShift",
    "Plan",
    "QuantumLayer",
    "SPSAMetric",
    "SimulatorEstimator",
    "Value",
    "explain",
    "from_pennylane",
    "torch_qnode",
]
