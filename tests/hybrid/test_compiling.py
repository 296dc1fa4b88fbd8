"""A compiled circuit is the circuit: every gate of qiskit's library, exactly, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit import library as gates
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Clifford, Operator, Pauli, SparseObservable, SparsePauliOp, Statevector

from classical.measurement import MeasurementGroup
from classical.program import PauliRotation
from classical.statevector import Statevector as Simulator
from hybrid import Objective, ParameterShift
from hybrid.backends import Exact
from hybrid.compiling import CannotCompile, compile_circuit
from tests.systems import asymmetric

A, B, C = Parameter("a"), Parameter("b"), Parameter("c")


def _standard_gates() -> dict[str, Gate]:
    """Every unitary gate of the standard library, with free angles."""
    skipped = ("measure", "reset", "delay")
    return {name: gate for name, gate in get_standard_gate_name_mapping().items() if name not in skipped}


def _controlled_gates() -> dict[str, Gate]:
    open_controls = {}
    for name, gate in _standard_gates().items():
        if getattr(gate, "num_ctrl_qubits", 0):
            changed = gate.to_mutable()
            changed.ctrl_state = 0
            open_controls[f"{name}, open"] = changed
    return open_controls


_EULER = gates.U3Gate(A, 2 * B, -C)
_COMPOSED = QuantumCircuit(2, name="composed")
_COMPOSED.ry(2 * A, 0)
_COMPOSED.crz(B, 1, 0)
_COMPOSED.global_phase = 0.4
COMPOSITE: dict[str, Callable[[], Gate]] = {
    "inverse of a rotation": lambda: gates.RXGate(A).inverse(),
    "inverse of a controlled rotation": lambda: gates.CRYGate(A).inverse(),
    "inverse of u": lambda: gates.UGate(A, B, C).inverse(),
    "power of a rotation": lambda: gates.RXGate(A).power(3),
    "half power of a rotation": lambda: gates.RZGate(A).power(0.5),
    "u of affine angles": lambda: _EULER,
    "controlled u": lambda: gates.CUGate(A, B, C, A - B),
    "controlled u, open": lambda: gates.UGate(A, B, C).control(1, ctrl_state=0),
    "twice controlled phase, open": lambda: gates.PhaseGate(A).control(2, ctrl_state=1),
    "multi-controlled phase": lambda: gates.MCPhaseGate(A, 3),
    "rotation by two parameters": lambda: gates.RYGate(2 * A - B / 3 + 1),
    "composite": _COMPOSED.to_gate,
    "inverse of a composite": lambda: _COMPOSED.to_gate().inverse(),
    "controlled composite": lambda: _COMPOSED.to_gate().control(1, annotated=False),
    "annotated control": lambda: gates.RXGate(A).control(1, annotated=True),
    "annotated inverse": lambda: gates.RXGate(A).inverse(annotated=True),
    "Pauli evolution": lambda: gates.PauliEvolutionGate(Pauli("XIYZ"), time=A),
    "evolution by a commuting sum": lambda: gates.PauliEvolutionGate(
        SparsePauliOp(["XXI", "YYI", "IIZ", "III"], [0.5, -1.5, 0.4, 3.0]), time=2 * A + 0.1
    ),
    "evolution by a list that commutes": lambda: gates.PauliEvolutionGate(
        [SparsePauliOp("XX"), SparsePauliOp("ZZ", 0.3)], time=A
    ),
    "evolution by a sparse observable": lambda: gates.PauliEvolutionGate(SparseObservable("XY"), time=A),
    "controlled evolution": lambda: gates.PauliEvolutionGate(SparsePauliOp("XY"), time=A).control(1),
    "fixed evolution": lambda: gates.PauliEvolutionGate(Pauli("XYZ"), time=0.3),
    "unitary on two qubits": lambda: gates.UnitaryGate(_random_unitary(2)),
    "unitary on four qubits": lambda: gates.UnitaryGate(_random_unitary(4)),
    "diagonal": lambda: gates.DiagonalGate([1, 1j, -1, np.exp(0.3j)]),
    "Pauli string": lambda: gates.PauliGate("XYZX"),
    "multi-controlled x": lambda: gates.MCXGate(4),
    "multi-controlled x, open": lambda: gates.MCXGate(4, ctrl_state=5),
    "uniformly controlled": lambda: gates.UCRYGate([0.1, 0.7]),
    "state preparation": lambda: gates.StatePreparation([0.6, 0.8j]),
    "Fourier transform": lambda: gates.QFTGate(4),
    "Molmer-Sorensen": lambda: gates.MSGate(3, A),
    "Pauli product": lambda: gates.PauliProductRotationGate(Pauli("XZ"), A),
    "fixed Hamiltonian": lambda: gates.HamiltonianGate(np.diag([1.0, -1.0]), 0.3),
    "relative-phase Toffoli": lambda: gates.RCCXGate(),
}


def _random_unitary(num_qubits: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(2**num_qubits, 2**num_qubits, 2)) @ [1, 1j]
    return np.linalg.qr(matrix)[0]


def _between_random_layers(gate: Gate) -> QuantumCircuit:
    """The gate on turned qubits, in front and behind something that shows all of its matrix."""
    width = gate.num_qubits
    circuit = QuantumCircuit(max(width, 1))
    for qubit in range(circuit.num_qubits):
        circuit.u(0.7 + 0.3 * qubit, 0.2 * qubit - 0.5, 0.9, qubit)
    for qubit in range(circuit.num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.append(gate, list(range(width))[::-1])
    return circuit


def _state(circuit: QuantumCircuit, theta: np.ndarray) -> np.ndarray:
    program = compile_circuit(circuit, list(circuit.parameters))
    rows = torch.from_numpy(np.asarray(theta, dtype=float).reshape(1, -1))
    state = Simulator(program).states(program.angles(rows))[0].numpy()
    # First axis first here, last qubit first in qiskit.
    axes = range(circuit.num_qubits - 1, -1, -1)
    return state.reshape((2,) * circuit.num_qubits).transpose(*axes).reshape(-1)


def _same_up_to_phase(circuit: QuantumCircuit, seed: int = 0) -> None:
    theta = np.random.default_rng(seed).uniform(-3, 3, len(circuit.parameters))
    # Taken apart first: qiskit exponentiates evolutions with a warning of scipy's.
    bound = circuit.assign_parameters(theta)
    expected = Statevector(bound.decompose("PauliEvolution") if _has_evolution(bound) else bound).data
    assert abs(np.vdot(expected, _state(circuit, theta))) == pytest.approx(1, abs=1e-10)


def _has_evolution(circuit: QuantumCircuit) -> bool:
    return "PauliEvolution" in circuit.count_ops()


@pytest.mark.parametrize("name", sorted(_standard_gates()))
def test_standard_gate_is_that_of_qiskit(name: str) -> None:
    gate = _standard_gates()[name]
    for seed in range(2):
        _same_up_to_phase(_between_random_layers(gate), seed)


@pytest.mark.parametrize("name", sorted(_controlled_gates()))
def test_open_control_is_that_of_qiskit(name: str) -> None:
    _same_up_to_phase(_between_random_layers(_controlled_gates()[name]))


@pytest.mark.parametrize("name", sorted(COMPOSITE))
def test_composite_gate_is_that_of_qiskit(name: str) -> None:
    _same_up_to_phase(_between_random_layers(COMPOSITE[name]()))


def test_the_standard_library_is_enumerated() -> None:
    assert len(_standard_gates()) > 45
    assert len(_controlled_gates()) > 15


def test_a_controlled_evolution_keeps_the_relative_phase_of_its_constant() -> None:
    # A constant in a Hamiltonian is a global phase, but not under a control.
    gate = gates.PauliEvolutionGate(SparsePauliOp(["X", "I"], [1.0, 0.7]), time=A).control(1)
    _same_up_to_phase(_between_random_layers(gate))


def test_a_global_phase_under_a_control_is_a_phase_of_the_control() -> None:
    inner = QuantumCircuit(1, global_phase=0.9)
    inner.rx(A, 0)
    _same_up_to_phase(_between_random_layers(inner.to_gate().control(1, annotated=False)))


def test_nested_circuits_keep_their_qubits() -> None:
    inner = QuantumCircuit(2)
    inner.rx(A, 0)
    inner.cry(B, 1, 0)
    middle = QuantumCircuit(3)
    middle.append(inner.to_instruction(), [2, 0])
    middle.rz(A - B, 1)
    outer = QuantumCircuit(4)
    outer.h(range(4))
    outer.append(middle.to_instruction(), [3, 1, 0])
    _same_up_to_phase(outer)


def test_instruction_outside_the_gates_is_taken_apart() -> None:
    _same_up_to_phase(_with(gates.Isometry(np.array([[0.6], [0.8]]), 0, 0), 1))


def test_barriers_and_phases_have_no_effect() -> None:
    circuit = QuantumCircuit(2, global_phase=A)
    circuit.ry(B, 0)
    circuit.barrier()
    circuit.append(gates.GlobalPhaseGate(0.3), [])
    circuit.cx(0, 1)
    program = compile_circuit(circuit, [A, B])
    assert program.num_rotations == 1
    assert program.coefficients.tolist() == [[0.0, 1.0]]


def test_qubit_zero_is_the_last_letter() -> None:
    system = asymmetric()
    theta = np.array(system.theta)
    value = system.objective().value(theta, backend=Exact()).values
    bound = Statevector(system.circuit.assign_parameters(theta))
    assert float(value) == pytest.approx(bound.expectation_value(system.observable).real, abs=1e-12)
    turned = SparsePauliOp(["ZII", "IXI", "IIZ"], [1.0, 2.0, 4.0])
    other = Objective(system.circuit, turned).value(theta, backend=Exact()).values
    assert abs(float(other) - float(value)) > 0.1


def test_rotations_of_a_program_are_what_the_gates_say() -> None:
    circuit = QuantumCircuit(3)
    circuit.rzx(A, 2, 0)
    circuit.crx(2 * B + 0.5, 0, 1)
    program = compile_circuit(circuit, [A, B])
    kinds = [(gate.qubits, gate.letters) for gate in program.gates if isinstance(gate, PauliRotation)]
    assert kinds == [((2, 0), "ZX"), ((1,), "X"), ((0, 1), "ZX")]
    assert program.coefficients.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    assert program.offsets.tolist() == [0.0, 0.25, -0.25]


def test_a_parameter_that_cancels_leaves_no_rotation() -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(A - A + 0.3, 0)
    circuit.rx(B, 0)
    program = compile_circuit(circuit, [A, B])
    assert program.num_rotations == 1
    assert program.max_frequencies().tolist() == [0.0, 1.0]


def _with(operation: object, num_qubits: int = 2, num_clbits: int = 0) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, num_clbits)
    circuit.append(operation, range(operation.num_qubits), range(operation.num_clbits))
    return circuit


def _angle(expression: object) -> QuantumCircuit:
    return _with(gates.RYGate(expression), 1)


def _mid_measurement() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.ry(A, 0)
    circuit.measure(0, 0)
    circuit.cx(0, 1)
    return circuit


def _branch() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.rx(A, 0)
    return circuit


def _loop() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(3)):
        circuit.rx(A, 0)
    return circuit


def _reset() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rx(A, 0)
    circuit.reset(0)
    return circuit


def _initialize() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.initialize([0.6, 0.8], 0)
    return circuit


REFUSED: dict[str, tuple[Callable[[], QuantumCircuit], str]] = {
    "product of parameters": (lambda: _angle(A * B), r"`a\*b` of gate `ry` is not affine in `[ab]`"),
    "square": (lambda: _angle(A * A), "not affine in `a`"),
    "sine": (lambda: _angle(A.sin()), r"`sin\(a\)` of gate `ry` is not affine in `a`"),
    "inverse": (lambda: _angle(1 / A), "not affine in `a`"),
    "absolute value": (lambda: _angle(A.abs()), "not affine in `a`"),
    "sign": (lambda: _angle(A.sign()), "affine"),
    "annotated operation": (
        lambda: _with(gates.HGate().control(2, annotated=True), 3),
        "`annotated` on qubits",
    ),
    "fraction that cancels": (lambda: _angle(A * A * B / A / B), "affine"),
    "complex angle": (lambda: _angle(1j * A), "is not real"),
    "angle not affine in a controlled gate": (
        lambda: _with(gates.CRXGate(A * B)),
        "of gate `crx` is not affine",
    ),
    "angle not affine in u": (lambda: _with(gates.UGate(0.1, A * B, 0.2), 1), "is not affine"),
    "infinite angle": (lambda: _angle(float("inf")), "angles must be finite"),
    "angle that is not a number": (lambda: _angle(float("nan")), "angles must be finite"),
    "measurement in the middle": (_mid_measurement, r"measures qubit 0: .*remove_final_measurements"),
    "reset": (_reset, "`reset` on qubits"),
    "initialize": (_initialize, "`reset` on qubits|`initialize`"),
    "branch": (_branch, "control flow, `if_else`"),
    "loop": (_loop, "control flow, `for_loop`"),
    "evolution that does not commute": (
        lambda: _with(gates.PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), time=A)),
        "do not commute has no exact form",
    ),
    "fixed evolution that does not commute": (
        lambda: _with(gates.PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), time=0.1)),
        "do not commute has no exact form",
    ),
    "evolution by a list that does not commute": (
        lambda: _with(gates.PauliEvolutionGate([SparsePauliOp("XX"), SparsePauliOp("ZI")], time=A)),
        "do not commute has no exact form",
    ),
    "evolution by a time that is not affine": (
        lambda: _with(gates.PauliEvolutionGate(Pauli("XX"), time=A * B)),
        "is not affine",
    ),
    "Hamiltonian with a free time": (lambda: _with(gates.HamiltonianGate(np.eye(2), A), 1), "hamiltonian"),
    "gate without a definition": (
        lambda: _with(Gate("mystery", 2, [])),
        "`mystery` on qubits .0, 1. is neither",
    ),
    "parametric gate without a definition": (
        lambda: _with(Gate("odd", 1, [A])),
        "`odd` on qubits .0. is neither",
    ),
    "rotation by a vector": (lambda: _with(gates.RVGate(A, 0.1, 0.2), 1), "`rv` on qubits"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_exact_form_is_refused_by_name(name: str) -> None:
    build, message = REFUSED[name]
    circuit = build()
    with pytest.raises(CannotCompile, match=message):
        compile_circuit(circuit, list(circuit.parameters))


def test_a_clifford_is_exact_or_refused_by_name() -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(A, 0)
    circuit.append(Clifford(gates.CXGate()), [0, 1])
    try:
        program = compile_circuit(circuit, [A])
    except CannotCompile as error:
        assert "clifford" in str(error)
    else:
        assert program.num_rotations == 1


def test_a_parameter_that_is_not_listed_is_refused() -> None:
    with pytest.raises(CannotCompile, match=r"must hold all of the circuit's, but lacks \['b'\]"):
        compile_circuit(_angle(A + B), [A])


def test_a_parameter_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"['`]a['`]"):
        Objective(_angle(A), SparsePauliOp("Z"), parameters=[A, A])


def test_a_final_measurement_can_be_taken_out() -> None:
    circuit = _angle(A)
    circuit.measure_all()
    with pytest.raises(CannotCompile, match="remove_final_measurements"):
        Objective(circuit, SparsePauliOp("Z"))
    circuit.remove_final_measurements()
    gradient = ParameterShift().gradient(Objective(circuit, SparsePauliOp("Z")), [0.4], backend=Exact())
    assert float(gradient.values) == pytest.approx(-np.sin(0.4))


def test_large_parameter_vectors_keep_qiskits_order() -> None:
    theta = ParameterVector("x", 12)
    circuit = QuantumCircuit(12)
    for qubit in reversed(range(12)):
        circuit.ry(theta[qubit], qubit)
    objective = Objective(circuit, [SparsePauliOp.from_sparse_list([("Z", [q], 1)], 12) for q in range(12)])
    point = np.linspace(0.1, 1.2, 12)
    np.testing.assert_allclose(objective.value(point, backend=Exact()).values.numpy(), np.cos(point))


def test_groups_serve_every_term_once() -> None:
    labels = ["XXI", "XIX", "ZZI", "IZZ", "YII", "IIY", "XYZ", "IYI"]
    sizes = np.arange(1.0, 9.0)
    objective = Objective(_three(), SparsePauliOp(labels, sizes))
    found: dict[str, float] = {}
    for group in objective.groups:
        assert isinstance(group, MeasurementGroup)
        for support, coefficient in zip(group.supports, group.coefficients, strict=True):
            letters = ["I"] * 3
            for qubit in support:
                letters[qubit] = group.basis[qubit]
            found["".join(reversed(letters))] = float(coefficient[0])
    assert found == dict(zip(labels, sizes, strict=True))
    assert len(objective.groups) < len(labels)


def _three() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.ry(A, 0)
    return circuit


def test_eigenvalues_of_a_group_are_those_of_its_operator() -> None:
    objective = Objective(_three(), SparsePauliOp(["XIZ", "XZI", "IIZ"], [0.5, 2.0, -1.0]))
    for group in objective.groups:
        total = np.zeros((8, 8), dtype=complex)
        for support, coefficient in zip(group.supports, group.coefficients, strict=True):
            label = "".join("Z" if q in support else "I" for q in range(3))
            total += float(coefficient[0]) * Operator(Pauli(label)).data
        np.testing.assert_allclose(group.eigenvalues[:, 0].numpy(), np.diag(total).real)


def test_permutations_and_delays_keep_their_meaning() -> None:
    circuit = QuantumCircuit(5)
    for qubit in range(5):
        circuit.ry(A + qubit, qubit)
    circuit.append(gates.PermutationGate([2, 4, 0, 1, 3]), [3, 1, 0, 4, 2])
    circuit.delay(100, 2)
    circuit.cx(0, 1)
    observables = [SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], num_qubits=5) for qubit in range(5)]
    bound = Statevector(circuit.assign_parameters([0.3]))
    expected = [float(bound.expectation_value(observable).real) for observable in observables]
    values = Objective(circuit, observables).value([0.3], backend=Exact()).values
    assert values.tolist() == pytest.approx(expected, abs=1e-12)
