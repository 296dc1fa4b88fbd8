"""Transpiling once: a program becomes one circuit of a device, whatever angles and bases follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, ParameterVector
from qiskit.transpiler import Target as DeviceTarget
from qiskit.transpiler import TranspilerError, generate_preset_pass_manager

from classical.measurement import NamedGates
from classical.program import Program
from hybrid.devices.circuits import BITS, device_circuit, measuring_circuit

# Two-qubit gates that undo themselves: three in a row are one, with three times the noise.
_OWN_INVERSE = {"cx", "cz", "ecr", "swap", "cy"}


class DoesNotFit(ValueError):
    """The device cannot run the circuit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Transpiler:
    """Circuits of one device, made once for each program and measurement basis.

    The program is transpiled with its angles free; a basis adds a tail of few gates on the qubits where it ends.

    Args:
        backend: a qiskit BackendV2, or None for a simulator that takes any gate.
        optimization_level: of qiskit's preset pass managers, 0 to 3.
        seed: of its random choices.
    """

    backend: Any = None
    optimization_level: int = 1
    seed: int = 0
    _programs: dict[tuple[Program, int], QuantumCircuit] = field(default_factory=dict, repr=False)
    _measured: dict[tuple[Program, NamedGates, int], QuantumCircuit] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if type(self.optimization_level) is not int or not 0 <= self.optimization_level <= 3:
            raise ValueError(
                f"Argument `optimization_level` must be 0, 1, 2 or 3, but is {self.optimization_level!r}."
            )
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"Argument `seed` must be a whole number, at least 0, but is {self.seed!r}.")

    @property
    def target(self) -> DeviceTarget | None:
        return None if self.backend is None else self.backend.target

    def measured(self, program: Program, gates: NamedGates, folding: int = 1) -> QuantumCircuit:
        """Returns the device's circuit for a program measured in a basis; parameter k keeps index k.

        Args:
            folding: odd; each two-qubit gate of the program stands so many times.

        Raises:
            DoesNotFit: for more qubits than the device has, or a gate that it has not.
        """
        key = (program, gates, folding)
        if key not in self._measured:
            self._measured[key] = self._joined(program, gates, folding)
        return self._measured[key]

    def readout_circuit(self, places: tuple[int, ...]) -> QuantumCircuit:
        """Returns a circuit that turns the device's qubits `places` by its one parameter and measures them.

        Bit i is qubit `places[i]`; angle 0 prepares |0>, pi prepares |1>.
        """
        anywhere = self.target is None or self.target.build_coupling_map() is None
        width = 1 + max(places) if anywhere or self.target is None else self.target.num_qubits or 1
        circuit = QuantumCircuit(width)
        (angle,) = ParameterVector("angle", 1)
        register = ClassicalRegister(len(places), BITS)
        circuit.add_register(register)
        for qubit in places:
            circuit.rx(angle, qubit)
        circuit.measure(places, register)
        if self.backend is None:
            return circuit
        return self._run(circuit, None if anywhere else list(range(width)))

    def _joined(self, program: Program, gates: NamedGates, folding: int) -> QuantumCircuit:
        body = self._folded(program, folding)
        tail = measuring_circuit(program.num_qubits, gates)
        if self.backend is None:
            return _checked(body.compose(tail, range(body.num_qubits), inplace=False), None)
        # Without a layout any gate goes anywhere, and qubits stay where they are.
        layout = body.layout
        tail = self._run(tail, None if layout is None else layout.final_index_layout())
        whole = body.copy()
        for register in tail.cregs:
            whole.add_register(register)
        whole.compose(tail, range(tail.num_qubits), tail.clbits, inplace=True)
        return _checked(whole, self.target)

    def _folded(self, program: Program, folding: int) -> QuantumCircuit:
        key = (program, folding)
        if key not in self._programs:
            circuit = self._transpiled(program) if folding == 1 else self._folded(program, 1)
            self._programs[key] = circuit if folding == 1 else folded(circuit, folding)
        return self._programs[key]

    def _transpiled(self, program: Program) -> QuantumCircuit:
        circuit = device_circuit(program)
        if self.target is None:
            return circuit
        if circuit.num_qubits > (self.target.num_qubits or 0):
            raise DoesNotFit(
                f"The circuit has {circuit.num_qubits} qubits, but {self.name} has {self.target.num_qubits}: use a "
                "larger device or a smaller circuit; a rule with an ancilla needs one qubit more than ParameterShift."
            )
        return self._run(circuit, None)

    @property
    def name(self) -> str:
        """The device's name, for people."""
        return "a simulator" if self.backend is None else str(self.backend.name)

    def _run(self, circuit: QuantumCircuit, layout: list[int] | None) -> QuantumCircuit:
        manager = generate_preset_pass_manager(
            optimization_level=self.optimization_level,
            backend=self.backend,
            initial_layout=layout,  # pyright: ignore[reportArgumentType]
            seed_transpiler=self.seed,
        )
        try:
            return manager.run(circuit)
        except TranspilerError as error:
            raise DoesNotFit(f"{self.name} cannot run the circuit: {str(error).splitlines()[0]}") from error


def folded(circuit: QuantumCircuit, times: int) -> QuantumCircuit:
    """The circuit with each two-qubit gate `times` times in a row, which changes nothing but the noise.

    Source: He et al. 2020, arXiv:2003.04941, section II (fixed identity insertions).

    Raises:
        DoesNotFit: for a two-qubit gate that does not undo itself.
    """
    copy = circuit.copy_empty_like()
    for item in circuit.data:
        count = 1
        if len(item.qubits) > 1 and item.operation.name != "barrier":
            if item.operation.name not in _OWN_INVERSE:
                raise DoesNotFit(
                    f"Gates are folded where they undo themselves, but {item.operation.name} does not: transpile to a "
                    f"device with one of {sorted(_OWN_INVERSE)}."
                )
            count = times
        for _ in range(count):
            copy.append(item)
    return copy


def _checked(circuit: QuantumCircuit, target: DeviceTarget | None) -> QuantumCircuit:
    """The circuit, whose every gate the target has; clients no longer check that before they submit."""
    if target is None:
        return circuit
    place = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for item in circuit.data:
        qubits = tuple(place[qubit] for qubit in item.qubits)
        name = item.operation.name
        if name != "barrier" and not target.instruction_supported(name, qubits):
            raise DoesNotFit(f"The device has no gate {name} on qubits {qubits}: transpile for it first.")
    return circuit


def measured_places(circuit: QuantumCircuit) -> tuple[int, ...]:
    """The device's qubit behind each bit of the register `BITS`."""
    bits = next(register for register in circuit.cregs if register.name == BITS)
    place = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    behind = {
        item.clbits[0]: place[item.qubits[0]] for item in circuit.data if item.operation.name == "measure"
    }
    return tuple(behind[bit] for bit in bits)
