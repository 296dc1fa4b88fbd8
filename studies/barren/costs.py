"""What is measured at the end of a circuit."""

from __future__ import annotations

from itertools import combinations

from qiskit.quantum_info import SparsePauliOp

from studies.barren.circuits import Laid

PAIR, LOCAL, GLOBAL, BONDS, KEPT = (
    "Z0 Z1",
    "local cost",
    "global cost",
    "mean of ZZ on edges",
    "Z of the last qubit",
)
COSTS = (PAIR, LOCAL, GLOBAL, BONDS, KEPT)


def observable(cost: str, laid: Laid) -> SparsePauliOp:
    """The observable of a cost.

    Local: 1 - (1/n) sum_j P(qubit j = 0). Global: 1 - |<0...0|psi>|^2, as a sum of all 2^n - 1 Z strings. Source:
    Cerezo et al. 2021, arXiv:2001.00550.
    """
    n = laid.circuit.num_qubits
    terms: list[tuple[str, list[int], float]]
    if cost == PAIR:
        terms = [("ZZ", [0, 1], 1.0)]
    elif cost == LOCAL:
        terms = [("", [], 0.5), *(("Z", [q], -1 / (2 * n)) for q in range(n))]
    elif cost == GLOBAL:
        strings = [list(each) for size in range(1, n + 1) for each in combinations(range(n), size)]
        terms = [("", [], 1 - 2.0**-n), *(("Z" * len(each), each, -(2.0**-n)) for each in strings)]
    elif cost == BONDS:
        terms = [("ZZ", list(edge), 1 / len(laid.edges)) for edge in laid.edges]
    elif cost == KEPT:
        terms = [("Z", [laid.kept], 1.0)]
    else:
        raise ValueError(f"Argument `cost` must be one of {list(COSTS)}, but is {cost!r}.")
    return SparsePauliOp.from_sparse_list(terms, num_qubits=n)
