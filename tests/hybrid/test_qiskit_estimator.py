"""The estimator primitive: equal to qiskit's own, honest about shots, never stale, clear about what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, RXGate, UnitaryGate, real_amplitudes
from qiskit.primitives import BaseEstimatorV2, BindingsArray, ObservablesArray, StatevectorEstimator
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import Pauli, PauliList, SparseObservable, SparsePauliOp
from scipy.optimize import minimize

from hybrid import qiskit_estimator
from hybrid.compiling import CannotCompile
from hybrid.objective import Objective
from hybrid.qiskit_estimator import SimulatorEstimator

ONE = SparsePauliOp(["ZZ", "XI", "II", "YX"], [1.0, -0.5, 0.25, 2.0])
TWO = SparsePauliOp("IY")
THETA = np.array([0.4, 1.1, -0.7])


def _circuit() -> QuantumCircuit:
    """Three parameters on two qubits; their names do not sort in the order of use."""
    c, a, b = Parameter("c"), Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2, metadata={"made": "here"})
    circuit.ry(c, 0)
    circuit.crx(2 * a + 0.3, 0, 1)
    circuit.h(1)
    circuit.rzz(a - b, 0, 1)
    circuit.rx(b, 0)
    return circuit


def _fixed() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(0.3, 0)
    circuit.cx(0, 1)
    return circuit


def _one_parameter() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    return circuit


def _evs(estimator: BaseEstimatorV2, *pubs: Any, **options: Any) -> list[np.ndarray]:
    return [item.data.evs for item in estimator.run(pubs, **options).result()]


def _rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(-4, 4, shape)


# --- equal to qiskit's --------------------------------------------------------------------------------------

PUBS: dict[str, Callable[[], Any]] = {
    "one": lambda: (_circuit(), ONE, THETA),
    "list": lambda: [_circuit(), ONE, list(THETA)],
    "with precision": lambda: (_circuit(), ONE, THETA, 0.0),
    "no precision": lambda: (_circuit(), ONE, THETA, None),
    "fixed": lambda: (_fixed(), ONE),
    "fixed, no values": lambda: (_fixed(), ONE, None),
    "fixed, empty": lambda: (_fixed(), [ONE, TWO], []),
    "fixed, rows": lambda: (_fixed(), ONE, np.zeros((4, 0))),
    "label": lambda: (_circuit(), "XZ", THETA),
    "pauli": lambda: (_circuit(), -Pauli("YX"), THETA),
    "pauli list": lambda: (_circuit(), PauliList(["XX", "IZ", "YY"]), THETA),
    "mapping": lambda: (_circuit(), {"XX": 0.5, Pauli("ZI"): -1.5}, THETA),
    "sparse observable": lambda: (_circuit(), SparseObservable.from_list([("XY", 2.0), ("II", 1.0)]), THETA),
    "array": lambda: (_circuit(), ObservablesArray([["ZZ"], [ONE]]), _rows(4, 3)),
    "pub": lambda: EstimatorPub.coerce((_circuit(), [ONE, TWO], THETA)),
    "rows": lambda: (_circuit(), ONE, _rows(5, 3)),
    "a row": lambda: (_circuit(), ONE, [THETA]),
    "table of rows": lambda: (_circuit(), ONE, _rows(2, 4, 3)),
    "pairs": lambda: (_circuit(), [ONE, TWO, ONE], _rows(3, 3)),
    "all with all": lambda: (_circuit(), [[ONE], [TWO], ["ZI"]], _rows(4, 3)),
    "outer": lambda: (_circuit(), [[ONE, TWO]], _rows(3, 1, 3)),
    "more axes": lambda: (_circuit(), np.array([[["XX"]], [["ZZ"]]]), _rows(3, 2, 3)),
    "repeated": lambda: (_circuit(), [ONE, ONE, 2 * ONE, "ZZ"], THETA),
    "names": lambda: (_circuit(), ONE, {"a": 0.1, "c": 0.2, "b": 0.3}),
    "names together": lambda: (_circuit(), [[ONE], [TWO]], {("c", "a"): _rows(4, 2), "b": _rows(4)}),
    "parameters": lambda: (
        _circuit(), ONE, BindingsArray({tuple(_circuit().parameters)[::-1]: _rows(2, 3)}),
    ),
    "vector": lambda: (real_amplitudes(2, reps=5), ONE, _rows(2, 12)),
    "one parameter, number": lambda: (_one_parameter(), "Z", 0.3),
    "one parameter, row": lambda: (_one_parameter(), "Z", [0.3, 0.4, 0.5]),
    "one parameter, column": lambda: (_one_parameter(), "Z", [[0.3], [0.4], [0.5]]),
    "one parameter, by name": lambda: (_one_parameter(), ["Z", "Y"], {"a": [0.3, 0.4]}),
    "no observables": lambda: (_circuit(), [], THETA),
    "no rows": lambda: (_circuit(), ONE, np.zeros((0, 3))),
    "no rows, two": lambda: (_circuit(), [[ONE], [TWO]], np.zeros((0, 3))),
    "constant": lambda: (_circuit(), {"II": -1.25}, _rows(3, 3)),
    "constants": lambda: (_circuit(), [["II"], [{"II": 2.0}]], _rows(3, 3)),
    "constant and not": lambda: (_circuit(), ["II", "ZZ"], THETA),
    "numpy numbers": lambda: (_circuit(), ONE, np.float32([0.5, 0.25, 1]), np.float64(0)),
    "whole numbers": lambda: (_circuit(), ONE, [1, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("make", PUBS.values(), ids=PUBS.keys())
def test_every_form_of_a_pub_gives_what_qiskit_gives(make: Callable[[], Any]) -> None:
    theirs = StatevectorEstimator().run([make()]).result()
    ours = SimulatorEstimator().run([make()]).result()
    assert ours.metadata == theirs.metadata
    assert len(ours) == 1
    assert ours[0].metadata == theirs[0].metadata
    for name in ("evs", "stds"):
        mine, other = getattr(ours[0].data, name), getattr(theirs[0].data, name)
        assert isinstance(mine, np.ndarray)
        assert (mine.shape, mine.dtype) == (other.shape, np.float64)
        np.testing.assert_allclose(mine, other, atol=1e-10, rtol=0)
    assert ours[0].data.shape == theirs[0].data.shape


@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), data=st.data())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_shapes_broadcast_as_in_qiskit(shapes: Any, data: st.DataObject) -> None:
    listed = [ONE, TWO, SparsePauliOp("XX"), SparsePauliOp("II", 3.0)]
    rows, observables = shapes.input_shapes
    size = math.prod(observables)
    drawn = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    table = np.empty(size, dtype=object)
    table[:] = [listed[i] for i in drawn]
    pub = (_circuit(), ObservablesArray(table.reshape(observables)), _rows(*rows, 3))
    (ours,), (theirs,) = _evs(SimulatorEstimator(), pub), _evs(StatevectorEstimator(), pub)
    assert ours.shape == theirs.shape == shapes.result_shape
    np.testing.assert_allclose(ours, theirs, atol=1e-10, rtol=0)


def test_several_pubs_keep_their_order_and_their_shapes() -> None:
    pubs = [make() for make in PUBS.values()]
    ours, theirs = _evs(SimulatorEstimator(), *pubs), _evs(StatevectorEstimator(), *pubs)
    assert len(ours) == len(pubs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-10, rtol=0)
    assert len(SimulatorEstimator().run([]).result()) == 0


def test_projectors_are_observables() -> None:
    (evs,) = _evs(SimulatorEstimator(), (_fixed(), ["00", "11", "1I", {"0I": 1.0, "1I": 1.0}]))
    one = math.sin(0.15) ** 2
    np.testing.assert_allclose(evs, [1 - one, one, one, 1.0], atol=1e-12)


def test_code_that_takes_an_estimator_takes_this_one(compiled: list[QuantumCircuit]) -> None:
    ansatz = real_amplitudes(2, reps=1)
    hamiltonian = SparsePauliOp(["ZZ", "XI", "IX"], [-1.0, -0.5, -0.5])
    points, energies = [], []

    # As qiskit's tutorial has it.
    def cost_func(params: np.ndarray, ansatz: Any, hamiltonian: Any, estimator: BaseEstimatorV2) -> float:
        pub = (ansatz, [hamiltonian], [params])
        result = estimator.run(pubs=[pub]).result()
        points.append(params.copy())
        energies.append(result[0].data.evs[0])
        return energies[-1]

    start = np.array([0.3, 0.8, -0.4, 1.0])
    found = minimize(
        cost_func, start, args=(ansatz, hamiltonian, SimulatorEstimator()), method="COBYLA", tol=1e-7
    )
    assert found.fun == pytest.approx(-math.sqrt(2), abs=1e-6)
    assert len(energies) > 20
    assert len(compiled) == 1
    (theirs,) = _evs(StatevectorEstimator(), (ansatz, hamiltonian, points))
    np.testing.assert_allclose(energies, theirs, atol=1e-10, rtol=0)


# --- shots --------------------------------------------------------------------------------------------------


def _sampled(seed: int, **options: Any) -> SimulatorEstimator:
    return SimulatorEstimator(rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("precision", [0.05, 0.02])
def test_shots_have_the_errors_that_they_say(precision: float) -> None:
    observables, rows = [[ONE], [TWO], ["ZZ"], ["II"]], _rows(200, 3)
    result = _sampled(1).run([(_circuit(), observables, rows)], precision=precision).result()[0]
    (exact,) = _evs(SimulatorEstimator(), (_circuit(), observables, rows))
    evs, stds = result.data.evs, result.data.stds
    assert (evs[3] == 1).all()
    assert (stds[3] == 0).all()
    # A single shot of ONE has three independent bases; their worst errors add in squares.
    for row, largest in enumerate([math.sqrt(1 + 0.5**2 + 2**2), 1, 1]):
        assert 0 < stds[row].max() <= largest * precision * 1.1
        clear = stds[row] > 0.3 * precision
        z = (evs[row] - exact[row])[clear] / stds[row][clear]
        assert clear.sum() > 100
        assert abs(z.mean()) * math.sqrt(len(z)) < 4.5
        assert abs((z**2).mean() - 1) / math.sqrt(2 / len(z)) < 4.5


def test_shots_are_as_many_as_the_precision_asks_for() -> None:
    rows = _rows(5, 3)
    for precision, shots in ((0.1, 100), (0.03, 1112), (1.0, 2), (7, 2)):
        result = _sampled(0).run([(_circuit(), [[ONE], [TWO]], rows, precision)]).result()[0]
        bases = len(Objective(_circuit(), [ONE, TWO]).groups)
        assert result.metadata == {
            "target_precision": precision,
            "circuit_metadata": {"made": "here"},
            "shots": shots,
            "circuits": 5 * bases,
        }
    (evs,) = _evs(_sampled(0), (_one_parameter(), "Z", _rows(40)), precision=0.1)
    np.testing.assert_allclose(evs * 50, np.round(evs * 50), atol=1e-9)  # 100 shots of +-1


def test_a_precision_of_its_own_goes_before_that_of_the_run_and_the_default() -> None:
    estimator = _sampled(0, default_precision=0.5)
    own, other = (_circuit(), ONE, THETA, 0.25), (_circuit(), ONE, THETA)
    results = [*estimator.run([own, other]).result(), *estimator.run([own, other], precision=0.125).result()]
    assert [item.metadata["target_precision"] for item in results] == [0.25, 0.5, 0.25, 0.125]
    assert [item.metadata["shots"] for item in results] == [16, 4, 16, 64]
    exact = estimator.run([other], precision=0.0).result()[0]
    assert exact.data.stds == 0
    assert "shots" not in exact.metadata


def test_seeds_repeat_and_pubs_do_not() -> None:
    pub = (_circuit(), [[ONE], [TWO]], _rows(3, 3), 0.05)
    first, again, other = (_evs(_sampled(seed), pub, pub) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (np.array(first) != np.array(other)).any()
    assert (first[0] != first[1]).any()
    estimator = _sampled(1)
    assert (_evs(estimator, pub)[0] != _evs(estimator, pub)[0]).any()


def test_many_observables_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    value = Objective.value

    def counted(self: Objective, theta: Any, **options: Any) -> Any:
        calls.append(len(theta))
        return value(self, theta, **options)

    monkeypatch.setattr(Objective, "value", counted)
    monkeypatch.setattr(qiskit_estimator, "_MOST_COVARIANCES", 12)  # one basis, two observables: three rows
    rows = _rows(7, 3)
    ours = _sampled(5).run([(_circuit(), [["ZZ"], ["ZI"]], rows, 0.01)]).result()[0].data
    assert calls == [3, 3, 1]
    (exact,) = _evs(SimulatorEstimator(), (_circuit(), [["ZZ"], ["ZI"]], rows))
    assert (np.abs(ours.evs - exact) < 4.5 * ours.stds).all()
    assert calls == [3, 3, 1, 7]


# --- the cache ----------------------------------------------------------------------------------------------


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[QuantumCircuit]:
    """Circuits in the order in which they are compiled."""
    done: list[QuantumCircuit] = []

    def counted(circuit: QuantumCircuit, observables: Any) -> Objective:
        done.append(circuit)
        return Objective(circuit, observables)

    monkeypatch.setattr(qiskit_estimator, "Objective", counted)
    return done


class _Turn(Gate):
    """Has an angle that qiskit knows nothing of."""

    def __init__(self, angle: float) -> None:
        super().__init__("turn", 1, [])
        self.angle = angle

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return RXGate(self.angle).to_matrix()


class _Backwards(RXGate):
    """A standard gate, by name and angle."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return RXGate(-self.params[0]).to_matrix()


def _with(*gates: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.s(0)
    for gate in gates:
        circuit.append(gate, [0])
    return circuit


def _append(circuit: QuantumCircuit) -> None:
    circuit.rx(0.2, 0)


def _replace(circuit: QuantumCircuit) -> None:
    circuit.data[0] = circuit.data[0].replace(operation=RXGate(0.2))


def _assign(circuit: QuantumCircuit) -> None:
    circuit.assign_parameters({"a": 2 * Parameter("a")}, inplace=True)


def _remove(circuit: QuantumCircuit) -> None:
    circuit.data.pop()


def _turn_further(circuit: QuantumCircuit) -> None:
    circuit.data[-1].operation.angle += 0.1


def _other_matrix(circuit: QuantumCircuit) -> None:
    circuit.data[-1].operation.params[0][:] = RXGate(0.9).to_matrix()


def _other_operator(circuit: QuantumCircuit) -> None:
    circuit.data[-1].operation.operator.coeffs[:] = 0.9


CHANGES: dict[str, tuple[Callable[[], QuantumCircuit], Callable[[QuantumCircuit], None]]] = {
    "append": (lambda: _with(RXGate(Parameter("a"))), _append),
    "replace": (lambda: _with(RXGate(Parameter("a"))), _replace),
    "assign": (lambda: _with(RXGate(Parameter("a"))), _assign),
    "remove": (lambda: _with(RXGate(Parameter("a")), RXGate(0.5)), _remove),
    "state of an object": (lambda: _with(RXGate(Parameter("a")), _Turn(0.5)), _turn_further),
    "matrix in place": (lambda: _with(RXGate(Parameter("a")), UnitaryGate(np.eye(2))), _other_matrix),
    "operator in place": (
        lambda: _with(RXGate(Parameter("a")), PauliEvolutionGate(SparsePauliOp("X"), 0.4)), _other_operator,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=CHANGES.keys())
def test_a_circuit_that_was_changed_gives_new_values(
    make: Callable[[], QuantumCircuit], change: Callable[[QuantumCircuit], None]
) -> None:
    estimator, circuit, observables = SimulatorEstimator(), make(), ["X", "Y", "Z"]
    (before,) = _evs(estimator, (circuit, observables, [0.3]))
    np.testing.assert_array_equal(_evs(estimator, (circuit, observables, [0.3]))[0], before)
    change(circuit)
    (after,) = _evs(estimator, (circuit, observables, [0.3]))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(
        after, _evs(SimulatorEstimator(), (circuit, observables, [0.3]))[0], atol=1e-12
    )


def test_circuits_that_are_close_or_look_alike_are_told_apart(compiled: list[QuantumCircuit]) -> None:
    a, b = Parameter("a"), Parameter("b")
    up = np.nextafter(0.5, 1)
    swapped = QuantumCircuit(1)
    swapped.h(0)
    swapped.s(0)
    swapped.rx(b, 0)
    swapped.ry(a, 0)
    straight = _with(RXGate(a))
    straight.ry(b, 0)
    wide = QuantumCircuit(2)
    wide.h(0)
    wide.s(0)
    phased = _with(RXGate(a))
    phased.global_phase = b
    fixed = [
        _with(), _with(RXGate(0.5)), _with(RXGate(up)), _with(_Backwards(0.5)), _with(_Turn(0.5)), _with(_Turn(up)),
        _with(UnitaryGate(np.eye(2))), _with(UnitaryGate(np.diag([1, np.exp(1e-12j)]))),
    ]  # fmt: skip
    estimator = SimulatorEstimator()
    for circuit in fixed:
        _evs(estimator, (circuit, "Z"))
    _evs(estimator, (straight, "Z", [0.1, 0.2]), (swapped, "Z", [0.1, 0.2]), (wide, "ZI"))
    _evs(estimator, (_with(RXGate(a)), "Z", [0.1]), (_with(RXGate(up * a)), "Z", [0.1]))
    _evs(estimator, (_with(RXGate(0.5 * a)), "Z", [0.1]), (phased, "Z", [0.1, 0.2]))
    assert len(compiled) == len(fixed) + 7
    (right,), (wrong,) = (
        _evs(estimator, (_with(RXGate(0.5)), "Z")),
        _evs(estimator, (_with(_Backwards(0.5)), "Z")),
    )
    assert right == pytest.approx(-wrong)
    assert abs(right) > 0.1


def test_a_class_that_is_written_again_is_another_class(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = SimulatorEstimator()
    (before,) = _evs(estimator, (_with(_Turn(0.5)), "Z"))

    class _Again(_Turn):
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return RXGate(-self.angle).to_matrix()

    _Again.__qualname__ = _Again.__name__ = "_Turn"
    monkeypatch.setitem(globals(), "_Turn", _Again)
    (after,) = _evs(estimator, (_with(_Again(0.5)), "Z"))
    assert after == pytest.approx(-before)
    assert abs(after) > 0.1


def test_a_gate_that_cannot_be_pickled_is_compiled_each_time(compiled: list[QuantumCircuit]) -> None:
    gate = _Turn(0.5)
    gate.why = lambda: None  # pyright: ignore[reportAttributeAccessIssue]
    estimator, circuit = SimulatorEstimator(), _with(gate)
    (first,), (second,) = _evs(estimator, (circuit, "Z")), _evs(estimator, (circuit, "Z"))
    assert first == second
    assert len(compiled) == 2


def test_one_circuit_is_compiled_once(compiled: list[QuantumCircuit]) -> None:
    estimator, circuit = SimulatorEstimator(), _circuit()
    for theta in _rows(5, 3):
        _evs(estimator, (circuit, ONE, theta), (circuit.copy(), ONE, theta))
        _evs(estimator, (circuit, [ONE, ONE], theta))
    assert len(compiled) == 1
    _evs(estimator, (circuit, [TWO, ONE], THETA), (circuit, [[ONE], [TWO]], THETA))
    assert len(compiled) == 2
    _evs(estimator, (_circuit(), ONE, THETA))  # parameters of the same name, but others
    assert len(compiled) == 3


def test_the_least_recently_used_leaves_first(compiled: list[QuantumCircuit]) -> None:
    a, b, c = (_with(RXGate(angle)) for angle in (0.1, 0.2, 0.3))
    estimator = SimulatorEstimator(cache_size=2)
    for circuit in (a, b, a, c, a, b):
        _evs(estimator, (circuit, "Z"))
    assert [id(item) for item in compiled] == [id(item) for item in (a, b, c, b)]
    compiled.clear()
    nothing = SimulatorEstimator(cache_size=0)
    _evs(nothing, (a, "Z"), (a, "Z"))
    assert len(compiled) == 2


def test_what_changes_while_the_job_runs_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit, theta, jobs = _circuit(), THETA.copy(), []
    (expected,) = _evs(SimulatorEstimator(), (circuit, ONE, theta))
    submit = qiskit_estimator.PrimitiveJob._submit
    monkeypatch.setattr(qiskit_estimator.PrimitiveJob, "_submit", lambda job: jobs.append(job))
    job = SimulatorEstimator().run([(circuit, ONE, theta)])
    circuit.x(0)
    theta += 1
    assert jobs == [job]
    submit(job)
    assert job.result()[0].data.evs == expected


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pub", "error", "message"),
    [
        ((_circuit(), ONE, [0.1, 0.2]), ValueError, r"shape \(\.\.\., 3\), but have shape \(2,\)"),
        ((_circuit(), ONE, 0.1), ValueError, r"shape \(\.\.\., 3\), but have shape \(\)"),
        ((_circuit(), ONE, _rows(3, 2)), ValueError, r"but have shape \(3, 2\)"),
        ((_fixed(), ONE, [0.1]), ValueError, r"shape \(\.\.\., 0\), but have shape \(1,\)"),
        ((_circuit(), ONE), ValueError, r"number of values \(0\) does not match"),
        ((_circuit(), ONE, [[1, 2, 3], [1, 2]]), ValueError, "inhomogeneous"),
        ((_circuit(), ONE, ["a", "b", "c"]), ValueError, "could not convert string to float"),
        ((_circuit(), ONE, [1, 2, 3j]), TypeError, "complex"),
        ((_circuit(), [ONE, TWO], _rows(3, 3)), ValueError, r"\(2,\) and .* \(3,\) are not broadcastable"),
        ((_circuit(), ONE, {"a": 1, "b": 2, "x": 3}), ValueError, r"name \['a', 'b', 'c'\], each once.*'x'"),
        ((_circuit(), ONE, {("a", "b"): [1, 2], "b": 3}), ValueError, r"but name \['a', 'b', 'b'\]"),
        ((_circuit(), "ZZZ", THETA), ValueError, "number of qubits"),
        ((_circuit(), {"ZZ": 1j}, THETA), ValueError, "Non-Hermitian"),
        ((_circuit(), 5, THETA), TypeError, "Invalid observable type"),
        ((_circuit(), ONE, THETA, -0.1), ValueError, "precision must be non-negative"),
        ((_circuit(), ONE, THETA, math.nan), ValueError, "precision must be 0 or from 1e-06 up, but is nan"),
        ((_circuit(), ONE, THETA, math.inf), ValueError, "but is inf"),
        ((_circuit(), ONE, THETA, 1e-200), ValueError, "but is 1e-200"),
        ((_circuit(), ONE, THETA, "fine"), TypeError, "precision must be a real number"),
        ((_circuit(),), TypeError, "must be a tuple"),
        ((ONE, _circuit()), TypeError, "must be a tuple"),
        (_circuit(), TypeError, "must be a tuple .* all PUBs in a list"),
        (7, TypeError, "must be a tuple .* but is 7"),
    ],
)
def test_a_pub_that_makes_no_sense_is_refused(pub: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        _sampled(0).run([(_fixed(), ONE), pub])
    assert "PUB 1" in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_negative_precision_is_refused_wherever_it_stands() -> None:
    pub = (_circuit(), ONE, THETA)
    with pytest.raises(ValueError, match="PUB 0 cannot be read: precision must be non-negative"):
        _sampled(0).run([pub], precision=-1.0)
    with pytest.raises(ValueError, match="precision must be non-negative"):
        _sampled(0, default_precision=-1.0).run([pub])


def test_shots_need_a_generator() -> None:
    with pytest.raises(ValueError, match=r"`rng` must be a numpy Generator .* PUB 0 .*\(0.1\), but is None"):
        SimulatorEstimator().run([(_circuit(), ONE, THETA)], precision=0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        SimulatorEstimator().run([(_circuit(), ONE, [0.1, bad, 0.2])]).result()


def test_a_negative_cache_is_refused() -> None:
    with pytest.raises(ValueError, match="`cache_size` must be at least 0, but is -1"):
        SimulatorEstimator(cache_size=-1)


@pytest.mark.parametrize("observable", ["ZZ", "II"])
def test_a_circuit_without_an_exact_form_is_refused(observable: str) -> None:
    measured = _fixed()
    measured.measure_all()
    with pytest.raises(CannotCompile, match="measures qubit 0"):
        SimulatorEstimator().run([(measured, observable)])
    angles = ParameterVector("t", 2)
    product = QuantumCircuit(2)
    product.rx(angles[0] * angles[1], 0)
    with pytest.raises(CannotCompile, match="not affine"):
        SimulatorEstimator().run([(product, observable, [1, 2])])
