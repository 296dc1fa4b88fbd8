"""Hamiltonians of small molecules, in hartree, with their energies."""

from studies.molecules.files import MOLECULES, Molecule, load, molecule

__all__ = ["MOLECULES", "Molecule", "load", "molecule"]
