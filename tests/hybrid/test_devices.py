"""Devices and samplers as backends: every rule on every one, one job each, billed as planned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import BackendSamplerV2, StatevectorSampler
from qiskit.providers import BackendV2, Options
from qiskit.quantum_info import SparsePauliOp

from hybrid import Objective, ParameterShift
from hybrid.backends import (
    AbstractBackend,
    DeviceBackend,
    Exact,
    ReadoutMitigated,
    Sampled,
    ZeroNoise,
    from_sampler,
    from_vendor,
    open_backend,
)
from hybrid.devices.runner import UnusableResult
from hybrid.gradients.shared_circuits import CannotShare
from tests.cases import SHOT_CASES, EstimatorCase, arguments_for
from tests.hybrid.samples import Z_LIMIT
from tests.systems import several

aer = pytest.importorskip("qiskit_aer")
# Qiskit Aer and IBM's client warn of their own.
pytestmark = pytest.mark.filterwarnings("ignore")

THETA = np.array(several().theta)


def _statevector() -> DeviceBackend:
    return from_sampler(StatevectorSampler(seed=np.random.default_rng(5)))


def _runtime() -> DeviceBackend:
    pytest.importorskip("qiskit_ibm_runtime")
    from qiskit_ibm_runtime.executor_sampler import Sampler

    return from_sampler(Sampler(mode=aer.AerSimulator()))


SAMPLERS = {
    "StatevectorSampler": _statevector,
    "Aer SamplerV2": lambda: open_backend("aer"),
    "BackendSamplerV2": lambda: from_sampler(BackendSamplerV2(backend=aer.AerSimulator())),
    "IBM's client, local": _runtime,
    "run(list)": lambda: from_vendor(aer.AerSimulator()),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_gives_the_gradient_as_one_job(name: str) -> None:
    backend = SAMPLERS[name]()
    system = several()
    objective = system.objective()
    rule = ParameterShift()
    arguments: Any = {"total_shots": 24_000, "rng": np.random.default_rng(1)}
    gradient = rule.gradient(objective, THETA, backend=backend, **arguments)
    z = (gradient.values - torch.from_numpy(system.gradient(THETA))) / gradient.std_errors.clamp_min(1e-9)
    assert z[gradient.std_errors > 1e-6].abs().max() < Z_LIMIT
    assert gradient.plan is not None
    assert gradient.cost.jobs == 1
    priced = gradient.plan.price(backend)
    assert (gradient.cost.circuits, gradient.cost.shots) == (priced.circuits, priced.shots)
    assert gradient.cost.circuits == gradient.plan.cost.circuits
    assert 0.99 * 24_000 <= gradient.cost.shots <= 24_000


@pytest.mark.parametrize("case", SHOT_CASES, ids=lambda case: case.name)
def test_every_rule_on_a_device_is_the_rule_on_sampled_shots(case: EstimatorCase) -> None:
    if "400" in str(case.estimator):
        pytest.skip("400 directions are slow on a device and no other code")
    objective = case.several.objective()
    backend = open_backend("aer")
    theta = np.array(case.several.theta)
    arguments: Any = arguments_for(backend, total_shots=40_000)
    device = case.estimator.gradient(objective, theta, **arguments)
    assert device.plan is not None
    assert device.cost.shots == device.plan.cost.shots == 40_000
    assert device.cost.circuits == device.plan.cost.circuits
    assert device.cost.jobs == case.estimator.allocation.num_stages  # pyright: ignore
    sampled_arguments: Any = {**arguments_for(Sampled(), total_shots=40_000)}
    sampled = case.estimator.gradient(objective, theta, **sampled_arguments)
    # The same plan: the same random choices, so the two differ by shot noise only.
    spread = (device.std_errors**2 + sampled.std_errors**2).sqrt()
    z = (device.values - sampled.values) / spread.clamp_min(1e-9)
    assert z[spread > 1e-6].abs().max() < Z_LIMIT


def test_error_bars_of_a_device_are_honest() -> None:
    objective = several().objective()
    exact = torch.from_numpy(several().gradient(THETA))
    backend = open_backend("aer")
    z = []
    for seed in range(60):
        arguments: Any = arguments_for(backend, seed=seed, total_shots=2_000)
        gradient = ParameterShift().gradient(objective, THETA, **arguments)
        z.append(((gradient.values - exact) / gradient.std_errors)[gradient.std_errors > 1e-6])
    scores = torch.cat(z)
    # About 300 scores that are correlated in part: the mean square is known to some 10 percent.
    assert scores.square().mean() == pytest.approx(1, abs=0.3)


def test_rows_of_a_batch_run_in_the_same_job() -> None:
    objective = several().objective()
    backend = open_backend("aer")
    arguments: Any = arguments_for(backend, total_shots=8_000)
    gradient = ParameterShift().gradient(objective, np.stack([THETA, -THETA, 0.5 * THETA]), **arguments)
    assert gradient.cost.jobs == 1
    assert gradient.cost.shots == 3 * 8_000
    exact = ParameterShift().gradient(objective, -THETA, backend=Exact()).values
    spread = gradient.std_errors[1].clamp_min(1e-9)
    assert ((gradient.values[1] - exact) / spread)[gradient.std_errors[1] > 1e-6].abs().max() < Z_LIMIT


def test_a_job_is_transpiled_once() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    backend = open_backend("fake:manila")
    assert isinstance(backend, DeviceBackend)
    objective = several().objective()
    arguments: Any = arguments_for(backend, total_shots=2_000)
    for theta in (THETA, -THETA):
        ParameterShift().gradient(objective, theta, **arguments)
    assert len(backend.transpiler._programs) == 1


@pytest.mark.parametrize("name", ["aer", "fake:manila"])
def test_circuits_of_a_job_do_not_share_their_noise(name: str) -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    backend = open_backend(name)
    assert isinstance(backend, DeviceBackend)
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("t"), 0)
    plan = ParameterShift().plan(Objective(circuit, SparsePauliOp("Z")), [[0.0], [0.0]], total_shots=400)
    job = backend.assembly(plan.requests() + plan.requests()).job
    ran = backend.runner.run(job, seed=3)
    # At slope one the outcomes are coins: two rows of 200 agree in half of their shots.
    rows = [row for bits in ran.bits for row in bits[..., 0]]
    agreement = [np.mean(a == b) for i, a in enumerate(rows) for b in rows[:i] if len(a) == len(b)]
    assert max(agreement) < 0.5 + Z_LIMIT * 0.5 / 200**0.5
    again = backend.runner.run(job, seed=3)
    for first, second in zip(ran.bits, again.bits, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(backend.runner.run(job, seed=4).bits[0], ran.bits[0])


def test_a_sampler_with_a_fixed_seed_is_refused() -> None:
    from qiskit_aer.primitives import SamplerV2

    for sampler in (
        StatevectorSampler(seed=3),
        BackendSamplerV2(backend=aer.AerSimulator(), options={"seed_simulator": 7}),
        SamplerV2(seed=5),
    ):
        with pytest.raises(ValueError, match="share their noise"):
            from_sampler(sampler)
    with pytest.raises(TypeError, match="must be a qiskit SamplerV2"):
        from_sampler("sampler")  # pyright: ignore
    with pytest.raises(TypeError, match="must be a qiskit BackendV2"):
        from_vendor(StatevectorSampler())  # pyright: ignore


class _AllZero(BackendV2):
    """A device that reads 0 whatever is prepared, as results without single shots make some adapters do."""

    def __init__(self) -> None:
        super().__init__(name="zeros")
        self._simulator = aer.AerSimulator()

    @property
    def target(self) -> Any:
        return self._simulator.target

    @property
    def max_circuits(self) -> None:
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: Any, **options: Any) -> Any:
        circuits = run_input if isinstance(run_input, list) else [run_input]
        shots = options["shots"]

        class Job:
            def result(self) -> Any:
                class Result:
                    def get_counts(self) -> list[dict[str, int]]:
                        return [{"0" * circuit.num_clbits: shots} for circuit in circuits]

                return Result()

        return Job()


def test_a_device_whose_answer_is_impossible_is_refused() -> None:
    with pytest.raises(UnusableResult, match=r"for a qubit in \|0> and in 0%"):
        from_vendor(_AllZero())


def test_devices_need_shots_and_a_generator() -> None:
    objective = several().objective()
    backend = open_backend("aer")
    with pytest.raises(ValueError, match="has no exact values"):
        objective.value(THETA, backend=backend)
    with pytest.raises(ValueError, match="must be a numpy Generator"):
        objective.value(THETA, backend=backend, total_shots=100)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fake:nowhere", "must be fake: and one of"),
        ("aerial", "must be one of"),
        ("ibm:", "must be one of"),
        (7, "must be one of"),
    ],
)
def test_unknown_backends_are_one_sentence(name: Any, message: str) -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    with pytest.raises(ValueError, match=message):
        open_backend(name)
    with pytest.raises(ValueError, match="has no option 'shots'"):
        open_backend("fake:manila", shots=3)
    with pytest.raises(ValueError, match=r"one of \['manila'"):
        open_backend("fake:manilla")
    with pytest.raises(ValueError, match="must be 0, 1, 2 or 3, but is 9"):
        open_backend("fake:manila", optimization_level=9)
    with pytest.raises(ValueError, match="a whole number, at least 0, but is 'x'"):
        open_backend("fake:manila", seed="x")


# --- mitigation -------------------------------------------------------------------------------------------


def _noisy(*, readout: float = 0.0, two_qubit: float = 0.0) -> DeviceBackend:
    from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

    model = NoiseModel()
    if readout:
        model.add_all_qubit_readout_error(
            ReadoutError([[1 - readout, readout], [2 * readout, 1 - 2 * readout]])
        )
    if two_qubit:
        model.add_all_qubit_quantum_error(depolarizing_error(two_qubit, 2), ["cz", "cx"])
    backend = open_backend("aer", noise_model=model)
    assert isinstance(backend, DeviceBackend)
    return backend


def _bell() -> Objective:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(0, 1)
    circuit.cx(0, 1)
    return Objective(circuit, SparsePauliOp(["ZZ", "XX"], [1.0, 1.0]))


def _values(backend: AbstractBackend, shots: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    objective = _bell()
    found = [
        objective.value([], backend=backend, total_shots=shots, rng=np.random.default_rng(seed))
        for seed in range(repeats)
    ]
    return np.array([float(each.values) for each in found]), np.array(
        [float(each.std_errors) for each in found]
    )


def test_undone_readout_errors_leave_no_bias_and_honest_errors() -> None:
    noisy = _noisy(readout=0.05)
    plain, _ = _values(noisy, 20_000, 1)
    assert plain[0] < 1.6
    values, errors = _values(ReadoutMitigated(noisy, calibration_shots=2_000), 20_000, 60)
    z = (values.mean() - 2) / (values.std(ddof=1) / len(values) ** 0.5)
    assert abs(z) < Z_LIMIT
    # Calibration noise is doubled for the worst case of two values, so errors may be too large, not too small.
    assert 0.85 < errors.mean() / values.std(ddof=1) < 1.7


def test_zero_noise_goes_back_towards_the_value_without_noise() -> None:
    p = 0.02
    noisy = _noisy(two_qubit=p)
    # Each gate keeps a Bell pair with probability (1 - p), else all is lost: f = (1 - p)^(3 scale).
    kept = [(1 - p) ** (3 * scale) for scale in (1, 3)]
    values, errors = _values(noisy, 40_000, 20)
    assert abs(values.mean() - 2 * kept[0]) < Z_LIMIT * errors.mean() / 20**0.5
    backend = ZeroNoise(noisy)
    assert backend.weights == pytest.approx((1.5, -0.5))
    values, errors = _values(backend, 40_000, 20)
    expected = 2 * (1.5 * kept[0] - 0.5 * kept[1])
    assert abs(values.mean() - expected) < Z_LIMIT * errors.mean() / 20**0.5
    assert abs(expected - 2) < abs(2 * kept[0] - 2) / 5
    assert 0.6 < errors.mean() / values.std(ddof=1) < 1.6


def test_wrappers_charge_for_what_they_add() -> None:
    objective = _bell()
    noisy = _noisy(readout=0.01, two_qubit=0.01)
    wrapped = ZeroNoise(ReadoutMitigated(noisy, calibration_shots=500), scales=(1, 3, 5))
    value = objective.value([], backend=wrapped, total_shots=9_000, rng=np.random.default_rng(0))
    assert value.cost.circuits == 3 * 2 + 2
    assert value.cost.shots == 9_000 + 2 * 500
    assert value.cost.jobs == 1


def test_wrappers_refuse_what_they_cannot_wrap() -> None:
    with pytest.raises(TypeError, match="must be a device"):
        ZeroNoise(Exact())  # pyright: ignore
    with pytest.raises(TypeError, match="must be a device"):
        ReadoutMitigated(Sampled())  # pyright: ignore
    noisy = _noisy(readout=0.01)
    with pytest.raises(ValueError, match="odd numbers that rise"):
        ZeroNoise(noisy, scales=(1, 2))
    with pytest.raises(ValueError, match="must lie between 1 and 1"):
        ZeroNoise(noisy, degree=2)
    with pytest.raises(ValueError, match="raise `total_shots`"):
        _bell().value([], backend=ZeroNoise(noisy), total_shots=6, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 1"):
        ReadoutMitigated(noisy, calibration_shots=0)
    with pytest.raises(TypeError, match="`calibration_shots` must be a whole number"):
        ReadoutMitigated(noisy, calibration_shots="many")  # pyright: ignore
    with pytest.raises(TypeError, match="allocation"):
        _bell().value([], backend=noisy, total_shots=9, rng=np.random.default_rng(0), allocation="even")  # pyright: ignore


def test_a_rule_that_refuses_a_circuit_refuses_it_on_a_device_too() -> None:
    case = next(case for case in SHOT_CASES if case.name == "commuting generators")
    backend = open_backend("aer")
    arguments: Any = arguments_for(backend)
    with pytest.raises(CannotShare):
        case.estimator.gradient(several().objective(), THETA, **arguments)


@pytest.mark.parametrize("form", ["open_backend", "from_sampler"])
def test_noise_of_named_gates_meets_gates_of_other_names(form: str) -> None:
    from qiskit_aer.noise import NoiseModel, depolarizing_error
    from qiskit_aer.primitives import SamplerV2

    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.3, 2), ["cx"])
    if form == "open_backend":
        backend = open_backend("aer", noise_model=model)
    else:
        backend = from_sampler(SamplerV2(options={"backend_options": {"noise_model": model}}))
    circuit = QuantumCircuit(2)
    circuit.rzz(0.0, 0, 1)
    circuit.rxx(Parameter("t"), 0, 1)  # no gate of the model
    objective = Objective(circuit, SparsePauliOp("ZZ"))
    value = objective.value([0.0], backend=backend, total_shots=4_000, rng=np.random.default_rng(0))
    # Two CNOT for each such rotation that is left: at most 0.7 of the value without noise.
    assert float(value.values) < 0.8


def test_a_plan_without_shots_has_no_price_on_a_device_and_one_with_shots_none_on_exact() -> None:
    objective = several().objective()
    with pytest.raises(ValueError, match="has no exact values"):
        ParameterShift().plan(objective, THETA).price(open_backend("aer"))
    with pytest.raises(ValueError, match="which has no shots"):
        ParameterShift().plan(objective, THETA, total_shots=1_000).price(Exact())
    with pytest.raises(TypeError, match="must be a backend"):
        ParameterShift().plan(objective, THETA, total_shots=1_000).price("aer")  # pyright: ignore
