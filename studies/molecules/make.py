"""Makes the files of molecules: `python studies/molecules/make.py`, with pyscf, openfermion and openfermionpyscf.

None of the three is needed to read the files, and nothing else of this project to make them.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NEEDED = ("openfermion", "openfermionpyscf", "pyscf")
_LEAST = 1e-8
GEOMETRIES: Mapping[str, list[tuple[str, tuple[float, float, float]]]] = {
    "h2_0.7414.txt": [("H", (0.0, 0.0, 0.0)), ("H", (0.0, 0.0, 0.7414))],
    "lih_1.595.txt": [("Li", (0.0, 0.0, 0.0)), ("H", (0.0, 0.0, 1.595))],
}
"""Atoms and their places in angstrom, by file."""


def text_of(file: str, packages: Mapping[str, Any]) -> str:
    """What stands in the file."""
    openfermion = packages["openfermion"]
    with tempfile.TemporaryDirectory() as folder:
        data = openfermion.MolecularData(
            GEOMETRIES[file], "sto-3g", 1, 0, filename=str(Path(folder) / "molecule")
        )
        data = packages["openfermionpyscf"].run_pyscf(data, run_scf=True, run_fci=True)
        fermions = openfermion.get_fermion_operator(data.get_molecular_hamiltonian())
    lines = []
    for letters, value in openfermion.jordan_wigner(fermions).terms.items():
        if abs(value) >= _LEAST:
            at = dict(letters)
            label = "".join(at.get(qubit, "I") for qubit in range(data.n_qubits))
            lines.append(f"{label} {value.real:.12f}")
    name, bond = Path(file).stem.split("_")
    versions = ", ".join(f"{name} {packages[name].__version__}" for name in ("pyscf", "openfermion"))
    header = [
        f"{name}, bond of {bond} angstrom, STO-3G, RHF orbitals, Jordan-Wigner, sizes above {_LEAST:g}",
        f"made by studies/molecules/make.py with {versions}",
        "qubit order: qubit 0 first; spin orbitals side by side, up before down; hartree",
        f"E_HF {data.hf_energy:.12f}",
        f"E_FCI {data.fci_energy:.12f}",
    ]
    return "\n".join([*(f"# {line}" for line in header), *lines]) + "\n"


def main() -> int:
    """Writes every file anew, beside this one; returns the exit code."""
    try:
        packages = {name: importlib.import_module(name) for name in _NEEDED}
    except ImportError as missing:
        print(
            f"Making molecules needs {', '.join(_NEEDED)}, but {missing.name} is not installed: "
            f"`pip install {' '.join(_NEEDED)}` in an environment of its own. Reading the files needs none of them."
        )
        return 1
    for file in GEOMETRIES:
        Path(__file__).with_name(file).write_text(text_of(file, packages))
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
