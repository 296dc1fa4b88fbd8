"""Forward and backward of a linear layer, a 4-qubit circuit and a head: gradients to all weights, in float64.

Linear(4, 4), RX embedding, two layers of Rot on every qubit and a ring of CNOT (PennyLane's
StronglyEntanglingLayers), <Z> of every qubit, Linear(4, 1), mean squared error. 28 rotations a sample depend on
something trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor
from torch.nn.functional import linear, mse_loss

from hybrid import Backprop, Objective, ParameterShift, QuantumLayer
from hybrid.gradients import AbstractGradientEstimator
from studies.peers.route import OURS, Driver, Route

WORKLOAD = "hybrid step"
QUBITS, LAYERS = 4, 2
SHIFT, BACKPROP, ADJOINT = "parameter-shift", "backprop", "adjoint"
LIGHTNING, DEFAULT = "PennyLane lightning.qubit", "PennyLane default.qubit"


@dataclass(frozen=True, kw_only=True)
class StepCase:
    """A batch of samples, and weights that are the same for all."""

    batch: int

    @property
    def name(self) -> str:
        return f"batch {self.batch}"

    @property
    def units(self) -> int:
        """Samples in one run."""
        return self.batch

    def tensors(self) -> dict[str, Tensor]:
        """Weights, samples and targets, float64; the same weights for every batch."""
        rng = np.random.default_rng(0)
        shapes = {
            "encoder": (QUBITS, QUBITS),
            "shift": (QUBITS,),
            "angles": (LAYERS, QUBITS, 3),
            "head": (1, QUBITS),
            "bias": (1,),
            "samples": (self.batch, QUBITS),
            "targets": (self.batch, 1),
        }
        return {name: torch.from_numpy(rng.uniform(-1, 1, shape)) for name, shape in shapes.items()}


CASES = (StepCase(batch=8), StepCase(batch=64), StepCase(batch=512))
QUICK_CASES = (StepCase(batch=2),)


def step(case: StepCase, middle: Callable[[Tensor], Tensor], angles: Tensor) -> Callable[[], np.ndarray]:
    """Forward and backward with a circuit as `middle`, whose weights are `angles`; returns all gradients in a row."""
    tensors = case.tensors()
    encoder, shift, head, bias = (
        tensors[name].requires_grad_() for name in ("encoder", "shift", "head", "bias")
    )
    trained = (encoder, shift, angles, head, bias)

    def run() -> np.ndarray:
        for tensor in trained:
            tensor.grad = None
        values = middle(linear(tensors["samples"], encoder, shift)).to(torch.float64)
        mse_loss(linear(values, head, bias), tensors["targets"]).backward()
        slopes = [tensor.grad.flatten() for tensor in trained if tensor.grad is not None]
        return torch.cat([slope.to(torch.float64) for slope in slopes]).numpy()

    return run


def circuit() -> tuple[QuantumCircuit, list[Parameter], list[Parameter], list[SparsePauliOp]]:
    """The circuit in qiskit's gates, its inputs, its angles in PennyLane's order, and <Z> of every qubit."""
    inputs, angles = ParameterVector("x", QUBITS), ParameterVector("w", LAYERS * QUBITS * 3)
    made = QuantumCircuit(QUBITS)
    for qubit in range(QUBITS):
        made.rx(inputs[qubit], qubit)
    for layer in range(LAYERS):
        for qubit in range(QUBITS):
            at = 3 * (layer * QUBITS + qubit)
            made.rz(angles[at], qubit)
            made.ry(angles[at + 1], qubit)
            made.rz(angles[at + 2], qubit)
        for qubit in range(QUBITS):
            made.cx(qubit, (qubit + layer + 1) % QUBITS)
    observables = [
        SparsePauliOp.from_sparse_list([("Z", [i], 1.0)], num_qubits=QUBITS) for i in range(QUBITS)
    ]
    return made, list(inputs), list(angles), observables


def ours(case: StepCase) -> list[Route]:
    """QuantumLayer with its exact backend; the rule is all that differs."""
    made, inputs, angles, observables = circuit()
    objective = Objective(made, observables, parameters=[*inputs, *angles])

    def route(estimator: AbstractGradientEstimator, against: str | None) -> Route:
        layer = QuantumLayer(objective, inputs=inputs, estimator=estimator, rng=np.random.default_rng(0))
        with torch.no_grad():
            layer.weights.copy_(case.tensors()["angles"].flatten())
        return Route(method=estimator.name, run=step(case, layer, layer.weights), against=against)

    return [route(ParameterShift(), BACKPROP), route(Backprop(), None)]


@contextmanager
def _float64() -> Iterator[None]:
    """PennyLane gives what leaves lightning.qubit torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _pennylane(case: StepCase, device: str, method: str, *, expand: bool = False, **options: Any) -> Route:
    import pennylane as qml
    from pennylane.transforms import broadcast_expand

    def function(inputs: Any, weights: Any) -> Any:
        qml.AngleEmbedding(inputs, wires=range(QUBITS), rotation="X")
        qml.StronglyEntanglingLayers(weights, wires=range(QUBITS))
        return [qml.expval(qml.Z(qubit)) for qubit in range(QUBITS)]

    node: Any = qml.QNode(
        function,
        qml.device(device, wires=QUBITS),
        interface="torch",
        diff_method=method,
        gradient_kwargs=options,
    )
    if expand:
        node = broadcast_expand(node)
    angles = case.tensors()["angles"].requires_grad_()
    whole = step(case, lambda features: torch.stack(list(node(features, angles)), dim=-1), angles)

    def run() -> np.ndarray:
        with _float64():
            return whole()

    note = "broadcast_expand, without which it refuses batches" if expand else ""
    return Route(method=method, run=run, against=SHIFT if method == SHIFT else BACKPROP, note=note)


def lightning(case: StepCase) -> list[Route]:
    """lightning.qubit, which takes batches apart itself for the adjoint method."""
    device = "lightning.qubit"
    return [_pennylane(case, device, SHIFT, expand=True), _pennylane(case, device, ADJOINT)]


def default_qubit(case: StepCase) -> list[Route]:
    """default.qubit; shifts of one gate run as one batch with `broadcast=True`, which halves its time."""
    device = "default.qubit"
    return [
        _pennylane(case, device, SHIFT, expand=True, broadcast=True),
        _pennylane(case, device, BACKPROP),
    ]


def torch_connector(case: StepCase) -> list[Route]:
    """EstimatorQNN in a TorchConnector, exact values from Aer, gradients to inputs switched on."""
    from qiskit_aer.primitives import EstimatorV2
    from qiskit_machine_learning import connectors, gradients, neural_networks  # pyright: ignore

    made, inputs, angles, observables = circuit()
    estimator = EstimatorV2(options={"backend_options": {"method": "statevector"}})
    network = neural_networks.EstimatorQNN(
        circuit=made,
        estimator=estimator,
        observables=observables,
        input_params=inputs,
        weight_params=angles,
        gradient=gradients.ParamShiftEstimatorGradient(estimator),
        input_gradients=True,
        default_precision=0.0,
    )
    connector = connectors.TorchConnector(network, initial_weights=case.tensors()["angles"].flatten().numpy())
    run = step(case, connector, connector.weight)
    return [
        Route(method=SHIFT, run=run, against=SHIFT, tolerance=1e-5, note="its values pass through float32")
    ]


DRIVERS: Sequence[Driver[StepCase]] = (
    Driver(toolkit=OURS, packages=("qtn-hybrid",), modules=(), routes=ours),
    Driver(
        toolkit=LIGHTNING,
        packages=("pennylane-lightning", "pennylane"),
        modules=("pennylane", "pennylane_lightning"),
        routes=lightning,
    ),
    Driver(toolkit=DEFAULT, packages=("pennylane",), modules=("pennylane",), routes=default_qubit),
    Driver(
        toolkit="qiskit-machine-learning",
        packages=("qiskit-machine-learning", "qiskit-aer"),
        modules=("qiskit_machine_learning", "qiskit_aer"),
        routes=torch_connector,
    ),
)
