"""Molecules from files: the published energies, sizes, groups and shot constants."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit

from hybrid import Objective
from hybrid.allocation import RandomTerms, Uniform, Weighted
from hybrid.backends import Exact
from hybrid.grouping import COMMUTING, ORDERS, Grouping, measurement_reduction
from hybrid.precision import group_moments, ungrouped
from hybrid.shadow_variance import shadow_variance
from studies.molecules import MOLECULES, load, make, molecule
from studies.overhead.states import at_state, ground_state
from studies.qpu.molecule import hydrogen

SIZES = {"H2": (4, 15, 1.8851), "LiH": (12, 631, 12.3424)}
ENERGIES = {"H2": (-1.116684, -1.137270), "LiH": (-7.862024, -7.882402)}
# Groups, R-hat and K of the best allocation at the ground state, by commuting and order; PySCF, OpenFermion, networkx.
# What is found by degree hangs on how ties are broken.
GROUPED = {
    ("H2", COMMUTING[0], ORDERS[0]): (5, 6.673, 0.12485),
    ("H2", COMMUTING[0], ORDERS[1]): (5, 6.673, 0.12485),
    ("H2", COMMUTING[1], ORDERS[0]): (2, 8.700, 0.12485),
    ("H2", COMMUTING[1], ORDERS[1]): (2, 8.700, 0.12485),
    ("LiH", COMMUTING[0], ORDERS[0]): (177, 16.67, 0.851),
    ("LiH", COMMUTING[0], ORDERS[1]): (154, 4.42, 2.256),
    ("LiH", COMMUTING[1], ORDERS[0]): (41, 23.9, 0.691),
    ("LiH", COMMUTING[1], ORDERS[1]): (39, 23.3, 0.768),
}
UNIFORM = {("H2", COMMUTING[0], ORDERS[0]): 0.195, ("LiH", COMMUTING[0], ORDERS[0]): 5.08}
TOLERANCE = {("H2", order): 1e-3 for order in ORDERS} | {("LiH", ORDERS[0]): 0.01, ("LiH", ORDERS[1]): 0.1}


@lru_cache
def _ground(name: str) -> tuple[float, np.ndarray]:
    return ground_state(molecule(name))


@lru_cache
def _at_ground(name: str, commuting: str = COMMUTING[0], order: str = ORDERS[0]) -> Objective:
    hamiltonian = molecule(name)
    grouping = Grouping(commuting=commuting, order=order)
    plain = Objective(QuantumCircuit(load(name).num_qubits), hamiltonian, grouping=grouping)
    return at_state(plain, _ground(name)[1])


@pytest.mark.parametrize("name", sorted(MOLECULES))
def test_sizes_and_energies(name: str) -> None:
    qubits, terms, weight = SIZES[name]
    found = load(name)
    assert (found.num_qubits, len(found.hamiltonian)) == (qubits, terms)
    assert found.weight == pytest.approx(weight, abs=5e-5)
    assert (found.hartree_fock, found.full_configuration_interaction) == pytest.approx(
        ENERGIES[name], abs=1e-6
    )
    assert _ground(name)[0] == pytest.approx(ENERGIES[name][1], abs=1e-6)
    # The prepared state has it too, and the orbitals of lowest energy, filled, have that of Hartree and Fock.
    value = _at_ground(name).value([], backend=Exact())
    assert float(value.values) == pytest.approx(ENERGIES[name][1], abs=1e-6)
    filled = QuantumCircuit(qubits)
    filled.x(range(2 if name == "H2" else 4))
    value = Objective(filled, found.hamiltonian).value([], backend=Exact())
    assert float(value.values) == pytest.approx(ENERGIES[name][0], abs=1e-6)


def test_hydrogen_has_its_coefficients() -> None:
    found = {label[::-1]: value.real for label, value in molecule("H2").to_list()}
    expected = {label[::-1]: value.real for label, value in hydrogen().to_list()}
    assert found == pytest.approx(expected, abs=1e-8)
    assert found["ZIII"] == pytest.approx(0.17119775, abs=1e-8)
    assert found["XXYY"] == pytest.approx(-0.0453222, abs=1e-8)


@pytest.mark.parametrize(("name", "commuting", "order"), GROUPED)
def test_groups_reduction_and_shot_constant(name: str, commuting: str, order: str) -> None:
    count, reduction, constant = GROUPED[name, commuting, order]
    tolerance = TOLERANCE[name, order]
    objective = _at_ground(name, commuting, order)
    assert len(objective.groups) == pytest.approx(count, rel=tolerance)
    assert measurement_reduction(objective.groups) == pytest.approx(reduction, rel=tolerance)
    moments = group_moments(objective, [])
    assert moments.best_shot_constant() == pytest.approx(constant, rel=tolerance)
    if (name, commuting, order) in UNIFORM:
        uniform = UNIFORM[name, commuting, order]
        assert moments.shot_constant(Uniform()) == pytest.approx(uniform, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "best", "uniform", "weighted", "random"),
    [("H2", 0.12485, 0.2204, 0.3992, 2.475), ("LiH", 15.34, 47.7, 35.3, None)],
)
def test_terms_apart(
    name: str,
    best: float,
    uniform: float,
    weighted: float,
    random: float | None,
) -> None:
    moments = group_moments(ungrouped(_at_ground(name)), [])
    assert moments.best_shot_constant() == pytest.approx(best, rel=2e-3)
    assert moments.shot_constant(Uniform()) == pytest.approx(uniform, rel=2e-3)
    assert moments.shot_constant(Weighted()) == pytest.approx(weighted, rel=2e-3)
    found = load(name)
    energy = found.full_configuration_interaction - _constant(name)
    # The spread of a drawn term: all outcomes are plus or minus lambda.
    assert moments.shot_constant(RandomTerms()) == pytest.approx(found.weight**2 - energy**2, rel=1e-5)
    if random is not None:
        assert moments.shot_constant(RandomTerms()) == pytest.approx(random, abs=5e-4)


def _constant(name: str) -> float:
    return next(c.real for label, c in molecule(name).to_list() if set(label) == {"I"})


@pytest.mark.parametrize(("name", "apart"), [("H2", 2.425), ("LiH", 630.7)])
def test_shadows_of_molecules(name: str, apart: float) -> None:
    """The published sum leaves out correlations between terms and the square of the mean."""
    terms = [(label, c.real) for label, c in molecule(name).to_list() if set(label) != {"I"}]
    assert sum(c**2 * 3 ** sum(letter != "I" for letter in label) for label, c in terms) == pytest.approx(
        apart, rel=5e-4
    )
    assert 0.5 * apart < float(shadow_variance(_at_ground(name), [])) < apart


def test_the_maker_makes_what_is_read_and_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(make.GEOMETRIES) == set(MOLECULES.values())

    def missing(name: str, *rest: Any) -> Any:
        raise ImportError(name=name)

    monkeypatch.setattr(make.importlib, "import_module", missing)
    assert make.main() == 1
    said = capsys.readouterr().out
    assert said.startswith(
        "Making molecules needs openfermion, openfermionpyscf, pyscf, but openfermion is not"
    )


def test_another_molecule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`name` must be one of \['H2', 'LiH'\], but is 'H2O'"):
        molecule("H2O")
