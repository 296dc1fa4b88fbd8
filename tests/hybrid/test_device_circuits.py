"""Programs as a device's circuits, and bits as values: both held against the state vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, efficient_su2
from qiskit.quantum_info import SparsePauliOp, Statevector

from classical.measurement import MeasurementGroup, ZeroProjection
from hybrid import Objective
from hybrid.backends import open_backend
from hybrid.devices.circuits import BITS, device_circuit
from hybrid.devices.jobs import described, shot_unit
from hybrid.devices.moments import moments, packed, shot_values, unpacked
from hybrid.devices.readout import Readout, UnreadableQubit
from hybrid.devices.transpiling import DoesNotFit, Transpiler, folded, measured_places


def _everything() -> QuantumCircuit:
    """All kinds of gates that a program has: fixed ones with and without names, narrow and wide rotations."""
    t = ParameterVector("t", 5)
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.sdg(1)
    circuit.cx(2, 0)
    circuit.unitary(np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0], [1, 2])
    circuit.rx(2 * t[0] + 0.3, 1)
    circuit.rzz(t[1], 0, 2)
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XYZ"]), time=t[2]), [0, 1, 2])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["IXZ"]), time=-t[3]), [0, 1, 2])
    circuit.crx(t[4], 2, 1)
    circuit.ccx(0, 1, 2)
    return circuit


def _objective() -> Objective:
    return Objective(_everything(), SparsePauliOp(["ZZX", "XIY", "YYI"], [1.0, 0.5, -0.25]), grouping="fully")


THETA = np.array([0.4, -1.1, 0.7, 2.2, 0.9])


def _state(circuit: QuantumCircuit, angles: torch.Tensor) -> np.ndarray:
    """Amplitudes with qubit 0 first."""
    bound = circuit.assign_parameters(angles.tolist())
    return Statevector(bound).reverse_qargs().data


def test_a_program_and_its_circuit_end_in_the_same_state() -> None:
    objective = _objective()
    angles = objective.program.angles(torch.from_numpy(THETA))
    ours = objective.target.simulator(torch.complex128, "cpu", None).states(angles[None])[0].numpy()
    theirs = _state(device_circuit(objective.program), angles)
    assert abs(np.vdot(ours, theirs)) == pytest.approx(1, abs=1e-12)


def test_gates_with_a_name_keep_it() -> None:
    circuit = QuantumCircuit(2)
    for name in ("x", "y", "z", "h", "s", "sdg"):
        getattr(circuit, name)(0)
    for pair in ((0, 1), (1, 0)):
        for name in ("cx", "cz", "swap"):
            getattr(circuit, name)(*pair)
    made = device_circuit(Objective(circuit, SparsePauliOp("ZZ")).program)
    assert made.count_ops() == circuit.count_ops()


@pytest.mark.parametrize("folding", [1, 3])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_transpiled_circuit_measures_the_same(folding: int, level: int) -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    objective = _objective()
    angles = objective.program.angles(torch.from_numpy(THETA))
    transpiler = Transpiler(backend=FakeManilaV2(), optimization_level=level, seed=5)
    simulator = objective.target.simulator(torch.complex128, "cpu", None)
    state = simulator.states(angles[None])[:, None]
    for group in objective.groups:
        expected = simulator.probabilities(state, group)[0, 0].numpy()
        circuit = transpiler.measured(objective.program, group.named_gates, folding)
        assert transpiler.measured(objective.program, group.named_gates, folding) is circuit
        bare: Any = circuit.remove_final_measurements(inplace=False)
        kept = [parameter.index for parameter in circuit.parameters]  # pyright: ignore
        bound = bare.assign_parameters(angles[kept].tolist())
        places = measured_places(circuit)
        # The last qubit named is the first letter of an outcome.
        found = Statevector(bound).probabilities(list(reversed(places)))
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_folding_repeats_two_qubit_gates_and_refuses_those_that_do_not_undo_themselves() -> None:
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.cz(0, 1)
    assert folded(circuit, 5).count_ops() == {"cz": 5, "sx": 1}
    circuit.rzz(0.3, 0, 1)
    with pytest.raises(DoesNotFit, match="rzz does not"):
        folded(circuit, 3)


def test_a_circuit_that_is_too_wide_is_refused() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    objective = Objective(efficient_su2(6, reps=1), SparsePauliOp("Z" * 6))
    backend = open_backend("fake:manila")
    with pytest.raises(DoesNotFit, match="has 6 qubits, but fake_manila has 5"):
        objective.value(
            np.zeros(objective.num_params), backend=backend, total_shots=10, rng=np.random.default_rng(0)
        )


def test_a_description_tells_programs_apart_and_nothing_else() -> None:
    first, same = _objective().program, _objective().program
    other = Objective(efficient_su2(3, reps=1), SparsePauliOp("ZZZ")).program
    assert described(first) == described(same) != described(other)


def test_bits_are_packed_as_qiskit_packs_them() -> None:
    from qiskit.primitives import BitArray

    bits = np.random.default_rng(0).integers(0, 2, size=(2, 5, 11), dtype=np.uint8)
    array = BitArray(packed(bits), 11)
    text = array[1].get_bitstrings()[3]
    assert text[::-1] == "".join(map(str, bits[1, 3]))
    np.testing.assert_array_equal(unpacked(packed(bits), 11), bits)


def _groups() -> tuple[MeasurementGroup, MeasurementGroup]:
    """The same terms on 3 qubits, whose outcomes are counted, and on 13, whose shots are taken one by one."""
    supports = ((0,), (0, 2), (1, 2), (0, 1, 2))
    coefficients = torch.tensor([[1.0, 0.0], [0.5, -2.0], [0.0, 1.0], [0.3, 0.3]], dtype=torch.float64)
    few = MeasurementGroup(basis="ZZZ", supports=supports, coefficients=coefficients)
    many = MeasurementGroup(basis="Z" * 13, supports=supports, coefficients=coefficients)
    return few, many


@pytest.mark.parametrize("readout", [False, True])
def test_counted_outcomes_and_single_shots_give_the_same_sums(readout: bool) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, size=(4, 50, 13), dtype=np.uint8)
    errors = torch.from_numpy(rng.uniform(0, 0.2, size=(2, 13)))
    wide = Readout(up=errors[0], down=errors[1]) if readout else None
    narrow = Readout(up=errors[0, :3], down=errors[1, :3]) if readout else None
    few, many = _groups()
    counted = moments(packed(bits[..., :3]), few, narrow)
    single = moments(packed(bits), many, wide)
    torch.testing.assert_close(counted, single)
    values = shot_values(bits.reshape(-1, 13), many, wide).view(4, 50, 2)
    torch.testing.assert_close(counted[0], values.sum(1))
    torch.testing.assert_close(counted[1], torch.einsum("rsm,rsn->rmn", values, values))


def test_undone_readout_errors_leave_the_exact_mean() -> None:
    rng = np.random.default_rng(2)
    up, down = torch.from_numpy(rng.uniform(0, 0.3, size=(2, 3)))
    readout = Readout(up=up, down=down)
    true = torch.from_numpy(rng.dirichlet(np.ones(8)))
    read = true
    for qubit in range(3):
        halves = read.view(2**qubit, 2, -1)
        zero, one = halves[:, 0], halves[:, 1]
        u, d = up[qubit], down[qubit]
        read = torch.stack([(1 - u) * zero + d * one, u * zero + (1 - d) * one], dim=1).reshape(-1)
    for group in (_groups()[0], ZeroProjection(3)):
        torch.testing.assert_close(read @ readout.undone(group.eigenvalues), true @ group.eigenvalues)


def test_a_qubit_that_reads_like_a_coin_is_refused() -> None:
    good, bad = torch.tensor([0.01, 0.5]), torch.tensor([0.02, 0.45])
    with pytest.raises(UnreadableQubit, match="Qubit 1"):
        Readout(up=good, down=bad)


@pytest.mark.parametrize(
    ("counts", "unit"),
    [([100, 100, 0], 100), ([2040, 2041, 2041], 2040), ([100, 300, 500], 100), ([7, 11], 1), ([0, 0], 1)],
)
def test_the_unit_of_shots_wastes_at_most_one_percent(counts: list[int], unit: int) -> None:
    table = torch.tensor([counts])
    assert shot_unit([table]) == unit
    assert (table % unit).sum() <= 0.01 * max(1, table.sum())


def test_the_register_has_one_name() -> None:
    objective = _objective()
    circuit = Transpiler().measured(objective.program, objective.groups[0].named_gates)
    assert [register.name for register in circuit.cregs] == [BITS]
    assert measured_places(circuit) == (0, 1, 2)
