"""Molecules from text files, one Pauli term a line; `make.py` wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from qiskit.quantum_info import SparsePauliOp

MOLECULES: Mapping[str, str] = {"H2": "h2_0.7414.txt", "LiH": "lih_1.595.txt"}
"""File of each molecule, by name; the bond in angstrom stands in the file's name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Molecule:
    """A qubit Hamiltonian and its energies, in hartree; STO-3G, Jordan-Wigner, spin orbitals side by side.

    Args:
        hamiltonian: in qiskit's qubit order, identity included.
        hartree_fock: energy of the best product state of orbitals.
        full_configuration_interaction: lowest energy with the molecule's number of electrons, in this basis.
    """

    name: str
    hamiltonian: SparsePauliOp
    hartree_fock: float
    full_configuration_interaction: float

    @property
    def num_qubits(self) -> int:
        return len(self.hamiltonian.to_list()[0][0])

    @property
    def weight(self) -> float:
        """Sum of the sizes of the coefficients without the identity, lambda."""
        terms = self.hamiltonian.to_list()
        return sum(abs(value) for label, value in terms if set(label) != {"I"})


@lru_cache(maxsize=len(MOLECULES))
def load(name: str) -> Molecule:
    """Returns a molecule of `MOLECULES`.

    Raises:
        ValueError: for another name.
    """
    if name not in MOLECULES:
        raise ValueError(f"Argument `name` must be one of {sorted(MOLECULES)}, but is {name!r}.")
    energies: dict[str, float] = {}
    terms: list[tuple[str, float]] = []
    for line in Path(__file__).with_name(MOLECULES[name]).read_text().splitlines():
        first, *rest = line.lstrip("# ").split()
        if not line.startswith("#"):
            # Qubit 0 comes first in a file, and last in a label of qiskit.
            terms.append((first[::-1], float(rest[0])))
        elif first in ("E_HF", "E_FCI"):
            energies[first] = float(rest[0])
    return Molecule(
        name=name,
        hamiltonian=SparsePauliOp.from_list(terms),
        hartree_fock=energies["E_HF"],
        full_configuration_interaction=energies["E_FCI"],
    )


def molecule(name: str) -> SparsePauliOp:
    """Returns the Hamiltonian of a molecule, in hartree and qiskit's qubit order.

    Raises:
        ValueError: for a name that is not in `MOLECULES`.
    """
    return load(name).hamiltonian
