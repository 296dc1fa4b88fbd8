"""Losses whose first step downhill is measured: exact values, slopes and curvature, and what each rule gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from classical.cost import Cost
from hybrid import SPSA, Adjoint, Objective, ParameterShift
from hybrid.backends import Exact, Sampled
from hybrid.gradients.base import AbstractShotEstimator
from hybrid.metrics.parameter_noise import parameter_noise
from hybrid.shots import LEAST_SHOTS, balanced_reach
from studies.circuits import hardware_efficient, transverse_ising
from studies.overhead.bars_and_dots import Classifier

Array = NDArray[np.float64]
SHIFT, SIMULTANEOUS, TOGETHER = "parameter-shift", "SPSA", "commuting generators"
LAYERED, COMMUTING = "layers", "commuting rotations"
_MANY = 1_000_000
_DRAWS = 2_000
_SMALL = 1e-4


class AbstractCase(ABC):
    """A loss of P parameters."""

    methods: tuple[str, ...]

    @property
    @abstractmethod
    def num_params(self) -> int: ...

    @property
    @abstractmethod
    def reach(self) -> float:
        """Root of the summed squares of the largest frequencies: what SPSA's step goes by."""

    @abstractmethod
    def values(self, thetas: Array) -> Array:
        """Exact losses (R,) at thetas (R, P)."""

    @abstractmethod
    def slopes(self, theta: Array) -> tuple[Array, Array]:
        """Exact gradient (P,) and Hessian (P, P)."""

    @abstractmethod
    def measured(
        self, method: str, theta: Array, shots: int, repeats: int, rng: np.random.Generator
    ) -> tuple[Array, Cost]:
        """Gradients (repeats, P) at `shots` shots in all each."""

    @abstractmethod
    def noise(self, method: str, theta: Array, rng: np.random.Generator) -> Array:
        """Covariance (P, P) of an exact rule's gradient for one shot in all; for SPSA the loss's variance, (1, 1)."""

    @abstractmethod
    def least_shots(self, method: str) -> int:
        """The fewest shots of a gradient, of which all others are multiples."""

    def spsa_step(self, shots: float) -> float:
        """Radians that SPSA goes each way."""
        return balanced_reach(shots / self.least_shots(SIMULTANEOUS) * LEAST_SHOTS) / self.reach


@dataclass(frozen=True)
class Layered(AbstractCase):
    """RY, RZ and a ring of CZ in as many layers as qubits; the Ising chain's energy."""

    qubits: int
    methods = (SHIFT, SIMULTANEOUS)

    @cached_property
    def objective(self) -> Objective:
        return Objective(
            hardware_efficient(self.qubits, self.qubits, "cz ring"), transverse_ising(self.qubits)
        )

    @property
    def num_params(self) -> int:
        return self.objective.num_params

    @property
    def reach(self) -> float:
        return float(self.objective.program.max_frequencies().norm())

    @property
    def _rules(self) -> Mapping[str, AbstractShotEstimator]:
        return {SHIFT: ParameterShift(), SIMULTANEOUS: SPSA()}

    def values(self, thetas: Array) -> Array:
        return self.objective.value(thetas, backend=Exact()).values.numpy()

    def slopes(self, theta: Array) -> tuple[Array, Array]:
        moves = np.pi / 2 * np.eye(len(theta))
        shifted = np.concatenate([theta[None], theta + moves, theta - moves])
        found = Adjoint().gradient(self.objective, shifted, backend=Exact()).values.numpy()
        plus, minus = found[1 : 1 + len(theta)], found[1 + len(theta) :]
        curvature = (plus - minus) / 2
        return found[0], (curvature + curvature.T) / 2

    def measured(
        self, method: str, theta: Array, shots: int, repeats: int, rng: np.random.Generator
    ) -> tuple[Array, Cost]:
        found = self._rules[method].gradient(
            self.objective, np.tile(theta, (repeats, 1)), backend=Sampled(), total_shots=shots, rng=rng
        )
        return found.values.numpy(), found.cost

    def noise(self, method: str, theta: Array, rng: np.random.Generator) -> Array:
        if method == SIMULTANEOUS:
            value = self.objective.value(theta, backend=Sampled(), total_shots=_MANY, rng=rng)
            return value.std_errors.reshape(1, 1).numpy() ** 2 * _MANY
        rule = self._rules[method]
        plan = rule.plan(self.objective, theta, total_shots=_MANY, rng=rng)
        ran = plan.run(Sampled(), rng)
        return parameter_noise(rule.combine(plan, ran), plan, ran).numpy() * _MANY

    def least_shots(self, method: str) -> int:
        circuits = 2 if method == SIMULTANEOUS else 2 * self.num_params
        return LEAST_SHOTS * circuits * len(self.objective.groups)


@dataclass(frozen=True, eq=False)
class Commuting(AbstractCase):
    """The bars-and-dots circuit on one picture (1, qubits); the mean of all Z."""

    picture: Array
    methods = (SHIFT, SIMULTANEOUS, TOGETHER)

    @cached_property
    def model(self) -> Classifier:
        return Classifier(qubits=self.picture.shape[1])

    @property
    def num_params(self) -> int:
        return self.model.num_params

    @property
    def reach(self) -> float:
        # Strings of a weight that meet in one qubit's Z.
        through = [sum(0 in support for support in each) for each in self.model.supports]
        return float(np.linalg.norm(through))

    def values(self, thetas: Array) -> Array:
        return self.model.values(thetas, np.repeat(self.picture, len(thetas), axis=0))

    def slopes(self, theta: Array) -> tuple[Array, Array]:
        moves = _SMALL * np.eye(len(theta))
        plus, minus = (
            np.array([self.model.gradients(theta + sign * move, self.picture)[0] for move in moves])
            for sign in (1, -1)
        )
        curvature = (plus - minus) / (2 * _SMALL)
        return self.model.gradients(theta, self.picture)[0], (curvature + curvature.T) / 2

    def measured(
        self, method: str, theta: Array, shots: int, repeats: int, rng: np.random.Generator
    ) -> tuple[Array, Cost]:
        each = shots // self._circuits(method)
        if method != SIMULTANEOUS:
            rule = self.model.shift_gradients if method == SHIFT else self.model.commuting_gradients
            return rule(theta, np.repeat(self.picture, repeats, axis=0), each, rng)
        step, many = self.spsa_step(shots), np.repeat(self.picture, repeats, axis=0)
        signs = rng.choice([-1.0, 1.0], size=(repeats, len(theta)))
        (plus, paid), (minus, more) = (
            self.model.sampled_values(theta + way * step * signs, many, each, rng) for way in (1, -1)
        )
        return ((plus - minus) / (2 * step))[:, None] * signs, paid + more

    def noise(self, method: str, theta: Array, rng: np.random.Generator) -> Array:
        if method == SIMULTANEOUS:
            return self.model.variances(theta, self.picture).reshape(1, 1)
        shots = self._circuits(method)
        drawn, _ = self.measured(method, theta, shots, _DRAWS, rng)
        return np.cov(drawn.T) * shots

    def least_shots(self, method: str) -> int:
        return LEAST_SHOTS * self._circuits(method)

    def _circuits(self, method: str) -> int:
        return {SHIFT: 2 * self.model.num_strings, SIMULTANEOUS: 2, TOGETHER: self.model.qubits}[method]
