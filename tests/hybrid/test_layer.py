"""A circuit between torch layers: gradients for weights and inputs, shapes, costs, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from torch import nn

from hybrid import SPSA, Adjoint, Backprop, FiniteDifference, Objective, ParameterShift, QuantumLayer
from hybrid.backends import Exact, Sampled
from hybrid.differentiable import NoSecondDerivative
from hybrid.gradients import AbstractGradientEstimator, NeedsSimulator
from tests.cases import ESTIMATOR_CASES, EstimatorCase

NUM_INPUTS = 3
NUM_WEIGHTS = 4
OBSERVABLES = [SparsePauliOp(["IIZ", "XXI"], [1.0, 0.5]), SparsePauliOp("ZZZ")]
BASES = 2
# Three inputs, one of them in two gates; four weights, one of them in a controlled rotation.
INPUT_ROTATIONS = 4
WEIGHT_ROTATIONS = 5
ROTATIONS = INPUT_ROTATIONS + WEIGHT_ROTATIONS


def _circuit() -> tuple[QuantumCircuit, ParameterVector]:
    inputs, weights = ParameterVector("x", NUM_INPUTS), ParameterVector("w", NUM_WEIGHTS)
    circuit = QuantumCircuit(3)
    for qubit in range(3):
        circuit.ry(inputs[qubit], qubit)
    circuit.cx(0, 1)
    for qubit in range(3):
        circuit.rx(2 * weights[qubit], qubit)
    circuit.crz(weights[3], 1, 2)
    circuit.ry(-inputs[0], 2)
    return circuit, inputs


def make_layer(estimator: Any = None, seed: int = 3, **settings: Any) -> QuantumLayer:
    circuit, inputs = _circuit()
    return QuantumLayer(
        Objective(circuit, OBSERVABLES),
        inputs=list(inputs),
        estimator=estimator,
        rng=np.random.default_rng(seed),
        **settings,
    )


def make_linear(in_features: int, out_features: int, seed: int) -> nn.Linear:
    layer = nn.Linear(in_features, out_features, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def make_model(estimator: Any, **settings: Any) -> nn.Sequential:
    return nn.Sequential(
        make_linear(5, NUM_INPUTS, 0), make_layer(estimator, **settings), make_linear(2, 1, 1)
    )


def batch(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def gradients_of(model: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    leaf = inputs.clone().requires_grad_()
    model.zero_grad()
    (model(leaf) ** 2).sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    found["inputs"] = leaf.grad
    return {name: grad for name, grad in found.items() if grad is not None}


@pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=lambda case: case.name)
def test_gradients_of_weights_and_inputs_are_those_of_autograd(case: EstimatorCase) -> None:
    if case.tolerance is None:
        pytest.skip("random: its mean is tested below")
    inputs = batch(4, 5)
    expected = gradients_of(make_model(Backprop()), inputs)
    assert set(expected) == {"0.weight", "0.bias", "1.weights", "2.weight", "2.bias", "inputs"}
    found = gradients_of(make_model(case.estimator), inputs)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.abs().max() > 1e-4
        tolerance = 1e-9 if case.tolerance <= 1e-10 else 1e-6
        torch.testing.assert_close(found[name], gradient, atol=tolerance, rtol=0)


def test_autograd_through_the_layer_is_right() -> None:
    layer = make_layer(Backprop())
    inputs = batch(2, NUM_INPUTS).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, w: _with_weights(layer, x, w), (inputs, layer.weights), atol=1e-6
    )


def _with_weights(layer: QuantumLayer, inputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return layer(inputs)


def test_parameter_shift_passes_torchs_own_check() -> None:
    layer = make_layer(ParameterShift())
    inputs = batch(2, NUM_INPUTS).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, w: _with_weights(layer, x, w), (inputs, layer.weights), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("estimator", [ParameterShift(), Backprop(), Adjoint()], ids=lambda e: e.name)
def test_any_batch_shape_goes_through(estimator: Any, shape: tuple[int, ...]) -> None:
    layer = make_layer(estimator)
    inputs = batch(*shape, NUM_INPUTS).requires_grad_()
    outputs = layer(inputs)
    assert outputs.shape == (*shape, 2)
    outputs.sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.shape == inputs.shape
    assert layer.weights.grad is not None
    flat = layer(inputs.detach().reshape(-1, NUM_INPUTS)).reshape(*shape, 2)
    torch.testing.assert_close(outputs, flat)


@pytest.mark.parametrize("estimator", [ParameterShift(), Backprop()], ids=lambda e: e.name)
def test_a_layer_without_inputs_repeats_its_value(estimator: Any) -> None:
    circuit, _ = _circuit()
    layer = QuantumLayer(Objective(circuit, OBSERVABLES), estimator=estimator, rng=np.random.default_rng(0))
    assert layer.weights.shape == (NUM_INPUTS + NUM_WEIGHTS,)
    outputs = layer(torch.zeros(3, 0, dtype=torch.float64))
    assert outputs.shape == (3, 2)
    assert (outputs == outputs[0]).all()
    outputs.sum().backward()
    assert layer.weights.grad is not None


def test_a_layer_without_weights_is_a_fixed_map() -> None:
    circuit, _ = _circuit()
    layer = QuantumLayer(
        Objective(circuit, OBSERVABLES), inputs=list(circuit.parameters), rng=np.random.default_rng(0)
    )
    assert layer.weights.numel() == 0
    inputs = batch(2, NUM_INPUTS + NUM_WEIGHTS).requires_grad_()
    layer(inputs).sum().backward()
    assert inputs.grad is not None


def test_inputs_are_fed_in_the_order_in_which_they_are_named() -> None:
    circuit, inputs = _circuit()
    turned = QuantumLayer(
        Objective(circuit, OBSERVABLES), inputs=list(inputs)[::-1], rng=np.random.default_rng(3)
    )
    x = batch(2, NUM_INPUTS)
    torch.testing.assert_close(turned(x.flip(-1)), make_layer()(x))


def test_single_precision_goes_through_and_comes_back() -> None:
    layer = make_layer()
    inputs = batch(2, NUM_INPUTS).to(torch.float32).requires_grad_()
    outputs = layer(inputs)
    assert outputs.dtype == torch.float32
    outputs.sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.dtype == torch.float32
    assert layer.weights.grad is not None
    assert layer.weights.grad.dtype == torch.float64


@pytest.mark.parametrize("wanted", ["weights", "inputs", "both"])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("backend", [Exact(), Sampled()], ids=lambda b: type(b).__name__)
def test_a_step_costs_rows_times_shifted_circuits_and_the_value(rows: int, backend: Any, wanted: str) -> None:
    shots = {} if isinstance(backend, Exact) else {"total_shots": 20_000, "value_shots": 303}
    layer = make_layer(ParameterShift(), backend=backend, **shots)
    assert layer.objective.program.num_rotations == ROTATIONS
    assert len(layer.objective.groups) == BASES
    layer.weights.requires_grad_(wanted != "inputs")
    inputs = batch(rows, NUM_INPUTS).requires_grad_(wanted != "weights")
    moved = {"weights": WEIGHT_ROTATIONS, "inputs": INPUT_ROTATIONS, "both": ROTATIONS}[wanted]
    outputs = layer(inputs)
    forward = layer.take_cost()
    assert forward.circuits == rows * BASES
    outputs.sum().backward()
    backward = layer.take_cost()
    assert backward.circuits == rows * 2 * moved * BASES
    assert forward.circuits + backward.circuits == rows * (1 + 2 * moved) * BASES
    assert (inputs.grad is None) == (wanted == "weights")
    assert (layer.weights.grad is None) == (wanted == "inputs")
    assert (forward.shots, backward.shots) == ((rows * 303, rows * 20_000) if shots else (0, 0))
    assert layer.take_cost().circuits == 0


def test_a_value_gets_the_shots_of_one_of_the_gradients_circuits() -> None:
    layer = make_layer(ParameterShift(), backend=Sampled(), total_shots=ROTATIONS * 2 * BASES * 50)
    assert layer.value_shots == 50 * BASES
    layer(batch(2, NUM_INPUTS))
    assert layer.take_cost().shots == 2 * 50 * BASES


def test_no_gradient_asked_for_costs_no_circuits() -> None:
    layer = make_layer(ParameterShift())
    with torch.no_grad():
        layer(batch(2, NUM_INPUTS))
    assert layer.take_cost().circuits == 2 * BASES


def test_where_nothing_needs_a_gradient_nothing_is_differentiated() -> None:
    layer = make_layer(ParameterShift())
    layer.weights.requires_grad_(False)
    assert not layer(batch(2, NUM_INPUTS)).requires_grad
    circuit, _ = _circuit()
    fixed = QuantumLayer(
        Objective(circuit, OBSERVABLES), inputs=list(circuit.parameters), rng=np.random.default_rng(0)
    )
    inputs = batch(2, NUM_INPUTS + NUM_WEIGHTS)
    (fixed(inputs).sum() + torch.ones((), requires_grad=True)).backward()
    assert fixed.take_cost().circuits == 2 * BASES


@pytest.mark.parametrize("estimator", [ParameterShift(), SPSA(directions=8, step=0.05)], ids=lambda e: e.name)
def test_gradient_from_shots_is_unbiased(estimator: Any) -> None:
    repeats = 3000
    layer = make_layer(estimator, backend=Sampled(), total_shots=4000)
    exact = make_layer(Backprop())
    inputs = batch(1, NUM_INPUTS).expand(repeats, -1).clone()
    upstream = torch.tensor([1.0, -0.6], dtype=torch.float64)

    def slopes(each: QuantumLayer, x: torch.Tensor) -> torch.Tensor:
        leaf = x.clone().requires_grad_()
        (each(leaf) @ upstream).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    samples = slopes(layer, inputs).numpy()
    expected = slopes(exact, inputs[:1]).numpy()[0]
    z = (samples.mean(0) - expected) / (samples.std(0) / math.sqrt(repeats))
    assert (np.abs(z) < 4.5).all()
    # A tenth of the gradient's length off would be seen.
    assert 4.5 * np.linalg.norm(samples.std(0)) / math.sqrt(repeats) < 0.25 * np.linalg.norm(expected)


def test_the_same_seed_gives_the_same_layer_and_shots() -> None:
    first, second = (make_layer(backend=Sampled(), total_shots=2000, seed=7) for _ in range(2))
    assert torch.equal(first.weights, second.weights)
    x = batch(2, NUM_INPUTS)
    assert torch.equal(first(x), second(x))


def test_weights_travel_in_a_state_dict() -> None:
    layer, other = make_layer(seed=1), make_layer(seed=2)
    x = batch(2, NUM_INPUTS)
    assert not torch.allclose(layer(x), other(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), other(x))
    assert list(layer.state_dict()) == ["weights"]


def test_a_layer_says_what_it_is() -> None:
    assert "qubits=3, inputs=3, weights=4, estimator=parameter-shift" in repr(make_layer())


def test_wrong_inputs_are_refused() -> None:
    layer = make_layer()
    for inputs in (batch(2, 4), batch(), batch(4, 2)):
        with pytest.raises(ValueError, match=r"`inputs` must have shape \(\.\.\., 3\)"):
            layer(inputs)
    with pytest.raises(ValueError, match="must be finite, but entry"):
        layer(torch.full((1, 3), math.nan, dtype=torch.float64))


def test_unknown_inputs_are_refused() -> None:
    circuit, _ = _circuit()
    with pytest.raises(ValueError, match=r"must hold parameters of the circuit, but holds \['y\[0\]'\]"):
        QuantumLayer(
            Objective(circuit, OBSERVABLES), inputs=[ParameterVector("y", 1)[0]], rng=np.random.default_rng(0)
        )


def test_inputs_that_are_named_twice_are_refused() -> None:
    circuit, inputs = _circuit()
    with pytest.raises(ValueError, match="`inputs`"):
        QuantumLayer(
            Objective(circuit, OBSERVABLES), inputs=[inputs[0], inputs[0]], rng=np.random.default_rng(0)
        )


def test_whole_numbers_do_not_truncate_the_values() -> None:
    layer = make_layer()
    whole = torch.tensor([[1, 0, 2]])
    try:
        outputs = layer(whole)
    except (TypeError, ValueError) as error:
        assert "inputs" in str(error)
    else:
        torch.testing.assert_close(outputs.double(), layer(whole.double()), atol=1e-6, rtol=0)


def test_settings_that_cannot_work_are_refused() -> None:
    x = batch(1, NUM_INPUTS)
    with pytest.raises(ValueError, match="`total_shots` must be left out on the backend Exact"):
        make_layer(total_shots=5000)(x)
    with pytest.raises(ValueError, match="`total_shots` must be given on the backend Sampled"):
        make_layer(backend=Sampled())(x)
    with pytest.raises(NeedsSimulator, match="backprop"):
        make_layer(Backprop(), backend=Sampled())(x)
    with pytest.raises((NeedsSimulator, ValueError), match="adjoint"):
        make_layer(Adjoint(), backend=Sampled(), total_shots=5000)(x).sum().backward()


@pytest.mark.parametrize(
    "estimator", [FiniteDifference(), ParameterShift(), Adjoint()], ids=lambda rule: rule.name
)
def test_a_second_derivative_is_refused_where_the_rule_has_none(estimator: AbstractGradientEstimator) -> None:
    layer = make_layer(estimator)
    inputs = batch(1, NUM_INPUTS).requires_grad_()
    (slope,) = torch.autograd.grad(layer(inputs).sum(), inputs, create_graph=True)
    # A penalty on the gradient: its first-order part alone would be a wrong number.
    with pytest.raises(NoSecondDerivative, match=f"{estimator.name} has no second derivative"):
        ((slope**2).sum() + layer(inputs).sum()).backward()
