"""QNodes that torch differentiates: PennyLane's values and gradients, by our estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch

from hybrid import Adjoint, torch_qnode
from hybrid.backends import Sampled

THETA = torch.tensor([0.4, 1.1], dtype=torch.float64, requires_grad=True)


def _node() -> Any:
    @qml.qnode(qml.device("default.qubit", wires=2), interface="torch", diff_method="backprop")
    def node(weights: Any, x: Any, turns: int = 1, offsets: Any = (0.0, 0.0)) -> Any:
        for _ in range(turns):
            qml.RX(weights[0] + offsets[0], wires=0)
            qml.CRY(2 * weights[1], wires=[0, 1])
        qml.RZ(x, wires=1)
        qml.RY(offsets[1], wires=1)
        return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.X(1))

    return node


def test_values_and_gradients_are_those_of_pennylane() -> None:
    for estimator in (None, Adjoint()):
        ours = torch_qnode(estimator=estimator)(_node())
        for turns in (1, 2):
            results = []
            for node in (_node(), ours):
                weights = THETA.detach().clone().requires_grad_()
                x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
                a, b = node(weights, x, turns=turns)
                (a + 3 * b**2).backward()
                results.append(torch.stack([a.detach(), b.detach(), *weights.grad, x.grad]))
            torch.testing.assert_close(*results, atol=1e-12, rtol=0)


FORMS: dict[str, Callable[[], Any]] = {
    "one": lambda: qml.expval(qml.Z(0)),
    "list of one": lambda: [qml.expval(qml.Z(0))],
    "tuple of one": lambda: (qml.expval(qml.Z(0)),),
    "list of two": lambda: [qml.expval(qml.Z(0)), qml.expval(qml.Y(0) @ qml.X(1))],
    "dict": lambda: {"a": qml.expval(qml.Z(0)), "b": [qml.expval(qml.Y(0) @ qml.X(1))]},
}


@pytest.mark.parametrize("measurements", FORMS.values(), ids=FORMS.keys())
def test_values_come_back_in_the_form_that_pennylane_gives(measurements: Callable[[], Any]) -> None:
    @qml.qnode(qml.device("default.qubit", wires=2), interface="torch", diff_method="backprop")
    def node(x: Any) -> Any:
        qml.RX(x, wires=0)
        qml.CNOT([0, 1])
        return measurements()

    found, expected = torch_qnode()(node)(THETA[0]), node(THETA[0])
    assert type(found) is type(expected)
    torch.testing.assert_close(found, expected)


def test_numbers_that_are_no_tensors_are_constants_in_double_precision() -> None:
    value, _ = torch_qnode()(_node())(THETA, 0.1)
    expected, _ = _node()(THETA, torch.tensor(0.1, dtype=torch.float64))
    assert abs(float((value - expected).detach())) < 1e-12


def test_constants_that_print_alike_are_told_apart() -> None:
    ours, theirs = torch_qnode()(_node()), _node()
    for offsets in ([0.12341, 0.5], [0.12344, 0.50004]):
        constant = torch.tensor(offsets, dtype=torch.float64)
        value, _ = ours(THETA, 0.1, offsets=constant)
        expected, _ = theirs(THETA, torch.tensor(0.1, dtype=torch.float64), offsets=constant)
        assert abs(float((value - expected).detach())) < 1e-12


def test_circuits_run_are_charged_and_not_lost_with_old_ones() -> None:
    ours = torch_qnode()(_node())
    for i in range(40):
        ours(THETA, 0.1, offsets=(0.0, i / 10))
    assert ours.take_cost().circuits == 80  # two measurement bases
    assert ours.take_cost().circuits == 0


def test_shots_and_errors() -> None:
    ours = torch_qnode(backend=Sampled(), total_shots=4000, rng=np.random.default_rng(0))(_node())
    weights = THETA.detach().clone().requires_grad_()
    ours(weights, 0.1)[0].backward()
    errors = ours.function(weights, 0.1).errors
    assert errors is not None
    assert (errors.variances[:2] > 0).all()


def test_a_keyword_that_requires_a_gradient_is_refused() -> None:
    offsets = torch.tensor([0.1, 0.2], requires_grad=True)
    with pytest.raises(TypeError, match="`offsets` requires a gradient, so pass it by position"):
        torch_qnode()(_node())(THETA, 0.1, offsets=offsets)


def test_what_is_no_qnode_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a QNode or a tape, but is a int"):
        torch_qnode()(3)(torch.tensor(1.0))
