"""Observables and product states as they are given: what is refused before anything is calculated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

# Vectors may come in single precision.
_EQUAL = 1e-6


def checked_terms(
    terms: Iterable[tuple[str, float]], num_qubits: int | None = None, name: str = "terms"
) -> list[tuple[str, float]]:
    """Pauli terms without identities and zeros; equal labels are added.

    Args:
        num_qubits: letters of each label; None: as many as the first has.
        name: of the argument that is blamed.

    Raises:
        ValueError: for none, for labels of another length or other letters than I, X, Y, Z, and for coefficients that
            are not finite real numbers.
    """
    table: dict[str, float] = {}
    for each in terms:
        try:
            label, coefficient = each
            value = float(coefficient)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"Argument `{name}` must hold pairs of a label, qubit 0 first, and a real coefficient, but holds "
                f"{each!r}."
            ) from None
        if not isinstance(label, str) or not set(label) <= set("IXYZ") or not label:
            raise ValueError(
                f"Argument `{name}` must have labels of the letters I, X, Y, Z, but has {label!r}."
            )
        num_qubits = len(label) if num_qubits is None else num_qubits
        if len(label) != num_qubits:
            raise ValueError(
                f"Argument `{name}` must have labels of {num_qubits} letters I, X, Y or Z, but has {label!r}."
            )
        # Its square is what is used.
        if not math.isfinite(value) or abs(value) > 1e150:
            raise ValueError(f"Argument `{name}` must have finite coefficients, but has {value} for {label}.")
        table[label] = table.get(label, 0.0) + value
    kept = [(label, value) for label, value in table.items() if value and set(label) != {"I"}]
    if not kept:
        raise ValueError(
            f"Argument `{name}` must hold a Pauli string other than the identity, but holds none."
        )
    return kept


def checked_label(label: str, num_qubits: int, name: str) -> str:
    """A Pauli string as an argument."""
    checked_terms([(label, 1.0)], num_qubits, name)
    return label


def checked_bloch(bloch: Tensor | Sequence[float] | None, num_qubits: int) -> Tensor:
    """Bloch vectors (n, 3) of a product state, float64, from one for all qubits or one each; |0...0> for None.

    Raises:
        ValueError: for another shape, or vectors that are not finite or longer than 1.
    """
    try:
        given = torch.as_tensor((0.0, 0.0, 1.0) if bloch is None else bloch, dtype=torch.float64)
    except (TypeError, ValueError):
        raise ValueError(f"Argument `bloch` must hold numbers, but is {bloch!r}.") from None
    if tuple(given.shape) not in ((3,), (num_qubits, 3)):
        raise ValueError(
            f"Argument `bloch` must have shape (3,) or ({num_qubits}, 3), X, Y and Z of the Bloch vectors, but has "
            f"shape {tuple(given.shape)}."
        )
    longest = float(given.norm(dim=-1).max())
    if not longest <= 1 + _EQUAL:
        raise ValueError(
            f"Argument `bloch` must hold vectors of length up to 1, but the longest has {longest:g}."
        )
    return given.expand(num_qubits, 3).clone()
