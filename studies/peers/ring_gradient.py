"""A whole gradient of layers of RY, RZ and a ring of CZ, with the sum of Z_i Z_{i+1}: every toolkit's best way.

In complex128 everywhere. The observable is diagonal, so one measurement basis does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hybrid import Adjoint, Objective, ParameterShift
from hybrid.backends import Exact, Sampled
from studies.circuits import hardware_efficient, neighbour_zz
from studies.peers.ring_case import ADJOINT, JIT, SHIFT, SHOTS, RingCase
from studies.peers.route import OURS, Driver, Route

_SHOTS_A_CIRCUIT = 1000
# Normal errors beyond this many standard errors would show a bias; with some hundred entries.
_SIGMAS = 6


def ours(case: RingCase) -> list[Route]:
    """The tangent pass, the adjoint sweep and, where asked for, finite shots."""
    objective = Objective(hardware_efficient(case.qubits, case.layers, "cz ring"), neighbour_zz(case.qubits))
    theta = case.theta
    routes = [
        Route(
            method=SHIFT,
            run=lambda: ParameterShift().gradient(objective, theta, backend=Exact()).values.numpy(),
            note="tangent pass: all shifted circuits at once",
        ),
        Route(
            method=ADJOINT,
            run=lambda: Adjoint().gradient(objective, theta, backend=Exact()).values.numpy(),
        ),
    ]
    if case.sampled:
        total, rng = 2 * len(theta) * _SHOTS_A_CIRCUIT, np.random.default_rng(1)

        def sampled() -> Any:
            return ParameterShift().gradient(objective, theta, backend=Sampled(), total_shots=total, rng=rng)

        routes.append(
            Route(
                method=SHOTS,
                run=lambda: sampled().values.numpy(),
                against=SHIFT,
                tolerance=_SIGMAS * float(sampled().std_errors.max()),
                note=f"deviation is shot noise, agreement within {_SIGMAS} standard errors",
            )
        )
    return routes


def _node(case: RingCase, method: str) -> Any:
    """The circuit as a QNode on lightning.qubit."""
    import pennylane as qml

    def circuit(values: Any) -> Any:
        for layer in range(case.layers):
            for qubit in range(case.qubits):
                at = 2 * (layer * case.qubits + qubit)
                qml.RY(values[at], qubit)
                qml.RZ(values[at + 1], qubit)
            for qubit in range(case.qubits):
                qml.CZ([qubit, (qubit + 1) % case.qubits])
        terms = [qml.Z(i) @ qml.Z(i + 1) for i in range(case.qubits - 1)]
        return qml.expval(qml.sum(*terms))

    return qml.QNode(circuit, qml.device("lightning.qubit", wires=case.qubits), diff_method=method)


def lightning(case: RingCase) -> list[Route]:
    """lightning.qubit with autograd: of the interfaces and options tried, the fastest or within noise of it.

    Its parameter-shift with `broadcast=True` is slower, since lightning takes batches apart; `batch_obs` has no effect
    on one observable.
    """
    import pennylane as qml

    start = qml.numpy.array(case.theta, requires_grad=True)

    def route(method: str) -> Route:
        gradient = qml.grad(_node(case, method))
        return Route(method=method, run=lambda: np.asarray(gradient(start)), against=method)

    return [route(SHIFT), route(ADJOINT)]


def catalyst(case: RingCase) -> list[Route]:
    """The same circuit compiled as a whole by `qml.qjit`, with Catalyst's gradient."""
    import catalyst as compiler  # pyright: ignore[reportMissingImports]
    import pennylane as qml

    start = np.asarray(case.theta)

    def route(method: str) -> Route:
        gradient = qml.qjit(compiler.grad(_node(case, method), method="auto"))
        return Route(method=method, run=lambda: np.array(gradient(start)), against=method)

    return [route(SHIFT), route(ADJOINT)]


def aer(case: RingCase) -> list[Route]:
    """EstimatorV2 with one PUB of 2P parameter rows, bound inside the simulator.

    Of Aer's options, `runtime_parameter_bind_enable` is the fastest or within noise of it; fusing more is slower.
    """
    from qiskit_aer.primitives import EstimatorV2

    circuit = hardware_efficient(case.qubits, case.layers, "cz ring")
    observable, theta = neighbour_zz(case.qubits), case.theta
    shifts = np.pi / 2 * np.eye(len(theta))
    rows = np.concatenate([theta + shifts, theta - shifts])
    options = {"method": "statevector", "runtime_parameter_bind_enable": True}
    estimator = EstimatorV2(options={"backend_options": options})
    pub: Any = (circuit, observable, rows)

    def gradient() -> np.ndarray:
        values: Any = estimator.run([pub]).result()[0].data
        return (values.evs[: len(theta)] - values.evs[len(theta) :]) / 2

    return [Route(method=SHIFT, run=gradient, against=SHIFT, note="one PUB of 2P rows")]


def qiskit_machine_learning(case: RingCase) -> list[Route]:
    """ParamShiftEstimatorGradient on Aer's estimator, which is faster than the state-vector estimators."""
    from qiskit_aer.primitives import EstimatorV2
    from qiskit_machine_learning import gradients  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

    circuit = hardware_efficient(case.qubits, case.layers, "cz ring")
    observable, theta = neighbour_zz(case.qubits), case.theta
    rule = gradients.ParamShiftEstimatorGradient(
        EstimatorV2(options={"backend_options": {"method": "statevector"}})
    )

    def gradient() -> np.ndarray:
        return np.asarray(rule.run([circuit], [observable], [theta]).result().gradients[0])

    return [Route(method=SHIFT, run=gradient, against=SHIFT, note="2P PUBs on Aer")]


def tensorcircuit(case: RingCase) -> list[Route]:
    """value_and_grad under jax's jit, layers in a scan; unrolled, 12 qubits compile for minutes and run no faster."""
    import tensorcircuit as tc  # pyright: ignore[reportMissingImports]

    qubits = case.qubits
    # TensorCircuit-NG has one backend and one number type for the process; nothing else here uses them.
    backend = tc.set_backend("jax")
    tc.set_dtype("complex128")
    pairs = [[3 if i in (j, j + 1) else 0 for i in range(qubits)] for j in range(qubits - 1)]
    observable = tc.quantum.PauliStringSum2COO(pairs, [1.0] * (qubits - 1))
    theta = backend.convert_to_tensor(case.theta.reshape(case.layers, qubits, 2))

    def layer(state: Any, angles: Any) -> Any:
        circuit = tc.Circuit(qubits, inputs=state)
        for qubit in range(qubits):
            circuit.ry(qubit, theta=angles[qubit, 0])
            circuit.rz(qubit, theta=angles[qubit, 1])
        for qubit in range(qubits):
            circuit.cz(qubit, (qubit + 1) % qubits)
        return circuit.state()

    def value(angles: Any) -> Any:
        state = backend.scan(layer, angles, tc.Circuit(qubits).state())
        return tc.templates.measurements.operator_expectation(tc.Circuit(qubits, inputs=state), observable)

    compiled = backend.jit(backend.value_and_grad(value))
    return [
        Route(
            method=JIT,
            run=lambda: np.asarray(compiled(theta)[1]).ravel(),
            against=ADJOINT,
            note="first call compiles",
        )
    ]


DRIVERS: Sequence[Driver[RingCase]] = (
    Driver(toolkit=OURS, packages=("qtn-hybrid",), modules=(), routes=ours),
    Driver(
        toolkit="PennyLane lightning.qubit",
        packages=("pennylane-lightning", "pennylane"),
        modules=("pennylane", "pennylane_lightning"),
        routes=lightning,
    ),
    Driver(
        toolkit="PennyLane Catalyst",
        packages=("pennylane-catalyst", "jax"),
        modules=("pennylane", "catalyst"),
        routes=catalyst,
    ),
    Driver(toolkit="Qiskit Aer", packages=("qiskit-aer", "qiskit"), modules=("qiskit_aer",), routes=aer),
    Driver(
        toolkit="qiskit-machine-learning",
        packages=("qiskit-machine-learning",),
        modules=("qiskit_machine_learning", "qiskit_aer"),
        routes=qiskit_machine_learning,
    ),
    Driver(
        toolkit="TensorCircuit-NG",
        packages=("tensorcircuit-ng", "jax"),
        modules=("tensorcircuit", "jax"),
        routes=tensorcircuit,
    ),
)
