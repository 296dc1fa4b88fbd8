"""Weights of all 4^n Pauli strings as a matrix-product state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qtn.decompositions.randomised import leading_columns

_CUT = 1e-15
Sites = Sequence[Tensor]
"""One vector of 4 weights a qubit, letters in the order I, X, Z, Y: a product of weights."""


class WeightChain:
    """Tensors (left, 4, right), one a qubit, times exp(log); those before `low` and behind `high` are orthonormal.

    Tensors are replaced, never changed, so that a copy costs n references.
    """

    def __init__(self, sites: Sites, bond: int) -> None:
        self.sites = [site.view(1, 4, 1) for site in sites]
        self.low, self.high = 0, len(sites) - 1
        self.log = 0.0
        self.bond = bond
        # The same numbers each time: results do not depend on what ran before.
        generator = torch.Generator().manual_seed(0)
        self._probe = torch.randn(8 * bond, bond, dtype=torch.float64, generator=generator)

    def copy(self) -> WeightChain:
        made = object.__new__(WeightChain)
        made.__dict__ |= self.__dict__
        made.sites = list(self.sites)
        return made

    def apply(self, first: int, matrix: Tensor) -> None:
        """A matrix on one site or two neighbours from `first` on, whose first site's letter is the lower digit.

        Between two sites the bond is cut back to the leading `bond` directions.
        """
        if len(matrix) == 4:
            self.sites[first] = matrix @ self.sites[first]
            self.low, self.high = min(self.low, first), max(self.high, first)
            return
        self._centre(first)
        left, right = self.sites[first], self.sites[first + 1]
        rows, columns = len(left), right.shape[2]
        both = left.reshape(4 * rows, -1) @ right.reshape(len(right), -1)
        both = both.view(rows, 4, 4, columns).transpose(1, 2).reshape(rows, 16, columns)
        both = (matrix @ both).view(rows, 4, 4, columns)
        self._split(first, both.transpose(1, 2).reshape(4 * rows, 4 * columns))

    def add(self, sites: Sites, sign: float, log: float) -> None:
        """Adds sign * exp(log) times a product of weights; bonds grow by one until they are cut back."""
        if not sign:
            return
        share = math.exp((log - self.log) / len(self.sites))
        last = len(self.sites) - 1
        for q, (tensor, weights) in enumerate(zip(self.sites, sites, strict=True)):
            left, _, right = tensor.shape
            grown = tensor.new_zeros(left + (q > 0), 4, right + (q < last))
            grown[:left, :, :right] = tensor
            # At the ends the two share the edge.
            grown[-1, :, -1] += share * weights * (sign if q == 0 else 1.0)
            self.sites[q] = grown
        self.low, self.high = 0, last

    def compress(self) -> None:
        """Cuts all bonds back."""
        unit = torch.eye(16, dtype=torch.float64)
        for first in range(len(self.sites) - 1):
            self.apply(first, unit)

    def closed(self, sites: Sites) -> tuple[float, float]:
        """Sign and log of the sum over strings of the weights times a product of weights."""
        row = torch.ones(1, dtype=torch.float64)
        log = self.log
        for tensor, weights in zip(self.sites, sites, strict=True):
            row = row @ torch.einsum("lar,a->lr", tensor, weights)
            size = float(row.abs().max())
            if size == 0:
                return 0.0, 0.0
            row, log = row / size, log + math.log(size)
        return float(row[0]), log

    def _split(self, first: int, flat: Tensor) -> None:
        norm = float(flat.norm())
        if norm:
            flat = flat / norm
            self.log += math.log(norm)
        if 1.5 * self.bond < min(flat.shape) <= max(flat.shape) <= len(self._probe):
            basis = leading_columns(flat, self._probe[: flat.shape[1]])
        else:
            left, values, _ = torch.linalg.svd(flat, full_matrices=False)
            basis = left[:, : max(1, min(self.bond, int((values > _CUT * values[0]).sum())))]
        self.sites[first] = basis.reshape(-1, 4, basis.shape[1])
        self.sites[first + 1] = (basis.mT @ flat).view(basis.shape[1], 4, -1)
        self.low = self.high = first + 1

    def _centre(self, site: int) -> None:
        """Makes all sites but `site` and the next orthonormal towards it."""
        while self.low < site:
            tensor = self.sites[self.low]
            q, r = torch.linalg.qr(tensor.reshape(-1, tensor.shape[2]))
            self.sites[self.low] = q.view(len(tensor), 4, -1)
            self.sites[self.low + 1] = torch.tensordot(r, self.sites[self.low + 1], 1)
            self.low += 1
            self.high = max(self.high, self.low)
        while self.high > site + 1:
            tensor = self.sites[self.high]
            q, r = torch.linalg.qr(tensor.reshape(len(tensor), -1).mT)
            self.sites[self.high] = q.mT.reshape(-1, 4, tensor.shape[2])
            self.sites[self.high - 1] = torch.tensordot(self.sites[self.high - 1], r.mT, 1)
            self.high -= 1
        self.low = min(self.low, site)
