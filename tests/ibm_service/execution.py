"""What a job asks for: its circuits, its size, its QPU time, and its results from a noisy simulator."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0 import (
    ChunkPart,
    ChunkSpan,
    ItemMetadataModel,
    MetadataModel,
    ParamsModel,
    QuantumProgramResultItemModel,
    QuantumProgramResultModel,
)
from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2
from qiskit_ibm_runtime.fake_provider.executor.broadcast_sample import broadcast_sample
from qiskit_ibm_runtime.quantum_program import CircuitItem, SamplexItem
from qiskit_ibm_runtime.quantum_program.converters import quantum_program_from_2_0

from .devices import Device

JOB_SECONDS = 2.0
"""What a job takes beside its executions."""
REPETITION_DELAY = 250e-6


@dataclass(frozen=True)
class Work:
    """A decoded job of the client's executor, schema v2.0."""

    model: ParamsModel

    @classmethod
    def decode(cls, params: Any) -> Work:
        """Raises ValueError if the parameters are not of the schema."""
        version = params.get("schema_version") if isinstance(params, dict) else None
        if version != "v2.0":
            raise ValueError(f"Parameters of the executor are of schema v2.0 here, not {version!r}.")
        work = cls(ParamsModel.model_validate(params))
        if work.model.quantum_program.meas_level != "classified":
            raise ValueError("Only classified measurement results are offered here.")
        return work

    @cached_property
    def items(self) -> list[CircuitItem | SamplexItem]:
        program, _ = quantum_program_from_2_0(self.model)
        return [item for item in program.items if isinstance(item, CircuitItem | SamplexItem)]

    @property
    def shots(self) -> int:
        return self.model.quantum_program.shots

    @property
    def executions(self) -> int:
        return sum(math.prod(item.shape) for item in self.items) * self.shots

    def seconds(self, target: Target) -> float:
        """QPU time on a device: a fixed part, and delay and circuit length for each execution."""
        delay = self.model.options.rep_delay
        delay = REPETITION_DELAY if delay is None else delay
        lengths = [
            math.prod(item.shape) * (delay + circuit_seconds(item.circuit, target)) for item in self.items
        ]
        return JOB_SECONDS + self.shots * sum(lengths)

    def unsupported(self, target: Target) -> str | None:
        """Why the device cannot run the circuits, or None if it can."""
        for item in self.items:
            message = _unsupported(item.circuit, target, list(range(item.circuit.num_qubits)))
            if message is not None:
                return message
        return None

    def run(self, device: Device, entropy: tuple[int, ...]) -> str:
        """The result as the client decodes it. A mock device fills in random bits."""
        data, spans = [], []
        seeds = np.random.SeedSequence(entropy).spawn(len(self.items))
        for index, (item, seed) in enumerate(zip(self.items, seeds, strict=True)):
            start = datetime.now(UTC)
            rng = np.random.default_rng(seed)
            arrays = _run_item(item, self.shots, device.simulator(item.circuit), rng)
            if device.is_mock:
                registers = {register.name for register in item.circuit.cregs}
                for name in registers & arrays.keys():
                    arrays[name] = rng.integers(0, 2, size=arrays[name].shape).astype(bool)
            tensors = {name: CompressedTensorModel.from_numpy(array) for name, array in arrays.items()}
            data.append(QuantumProgramResultItemModel(results=tensors, metadata=ItemMetadataModel()))
            spans.append(ChunkSpan(start=start, stop=datetime.now(UTC), parts=[_whole(index, item.shape)]))
        program = self.model.quantum_program
        return QuantumProgramResultModel(
            data=data,
            metadata=MetadataModel(chunk_timing=spans),
            passthrough_data=program.passthrough_data,
            semantic_role=program.semantic_role,
        ).model_dump_json()


def _run_item(
    item: CircuitItem | SamplexItem, shots: int, simulator: AerSimulator, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    if isinstance(item, CircuitItem):
        values = item.circuit_arguments
    else:
        # Twirled circuits: the values of the rotations are drawn, the flips to undo go with the result.
        item.samplex.finalize()
        arrays = broadcast_sample(item.samplex, item.samplex_arguments, item.shape, rng)
        values = arrays.pop("parameter_values")
    bindings = None if values is None else BindingsArray({tuple(item.circuit.parameters): values})
    # A seed of its own for each circuit: with one seed for all, their noise would be the same.
    sampler = SamplerV2.from_backend(simulator, seed=int(rng.integers(2**31)))
    pub = SamplerPub(circuit=item.circuit, parameter_values=bindings, shots=shots)
    bits = sampler.run([pub]).result()[0].data
    return {**arrays, **{name: array.to_bool_array(order="little") for name, array in dict(bits).items()}}


def circuit_seconds(circuit: QuantumCircuit, target: Target) -> float:
    """How long one run of the circuit takes: its longest path, in seconds."""
    ends: dict[int, float] = defaultdict(float)
    for instruction in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        end = max((ends[qubit] for qubit in qubits), default=0.0)
        if instruction.name == "delay":
            end += _delay_seconds(instruction.operation, target)
        elif instruction.name in target.operation_names:
            properties = target[instruction.name].get(qubits)
            end += (properties.duration or 0.0) if properties is not None else 0.0
        ends.update(dict.fromkeys(qubits, end))
    return max(ends.values(), default=0.0)


def _delay_seconds(delay: Any, target: Target) -> float:
    scale = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "dt": target.dt or 0.0}
    return float(delay.duration) * scale[delay.unit] if isinstance(delay.duration, int | float) else 0.0


def _unsupported(circuit: QuantumCircuit, target: Target, places: list[int]) -> str | None:
    """The first instruction that the target lacks; `places` are the device's qubits of the circuit's."""
    if circuit.num_qubits > target.num_qubits:
        return f"The circuit has {circuit.num_qubits} qubits but the target system has {target.num_qubits}."
    for instruction in circuit.data:
        qubits = tuple(places[circuit.find_bit(qubit).index] for qubit in instruction.qubits)
        name = instruction.name
        if name not in ("barrier", "store") and not target.instruction_supported(name, qubits):
            return f"The instruction {name} on qubits {qubits} is not supported by the target system."
        if isinstance(instruction.operation, ControlFlowOp):
            for block in instruction.operation.blocks:
                message = _unsupported(block, target, list(qubits))
                if message is not None:
                    return message
    return None


def _whole(index: int, shape: tuple[int, ...]) -> ChunkPart:
    size = math.prod(shape)
    return ChunkPart(
        idx_item=index, size=size, permutation=list(range(len(shape))), element_range=(0, size, 1)
    )
