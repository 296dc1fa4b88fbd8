"""Which Pauli terms are measured together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.measurement import MeasurementGroup


def qubit_wise_groups(
    labels: Sequence[str],
    coefficients: Tensor,  # shape: (terms, observables)
) -> tuple[MeasurementGroup, ...]:
    """Returns groups of terms that agree, qubit by qubit, on the letter to measure.

    Sorted insertion: terms by falling size go into the first group that they fit into, which keeps large
    coefficients together. With several observables a term's size is the norm of its coefficients; they share
    groups. Source: Crawford et al. 2021, arXiv:1908.06942, section 4. Cost: terms times groups.

    Args:
        labels: Pauli strings without the identity, qubit 0 first.
    """
    sizes = coefficients.norm(dim=1)
    bases: list[list[str]] = []
    members: list[list[int]] = []
    for term in torch.sort(sizes, descending=True, stable=True).indices.tolist():
        label = labels[term]
        for basis, inside in zip(bases, members, strict=True):
            if all(a == b or "I" in (a, b) for a, b in zip(label, basis, strict=True)):
                basis[:] = [b if a == "I" else a for a, b in zip(label, basis, strict=True)]
                inside.append(term)
                break
        else:
            bases.append(list(label))
            members.append([term])
    return tuple(
        MeasurementGroup(
            basis="".join("Z" if letter == "I" else letter for letter in basis),
            supports=tuple(tuple(q for q, a in enumerate(labels[term]) if a != "I") for term in inside),
            coefficients=coefficients[inside],
        )
        for basis, inside in zip(bases, members, strict=True)
    )
