"""Error mitigation as wrappers around a device, which charge for the circuits that they add."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from classical.cost import Cost
from hybrid.backends.base import Measured, Request
from hybrid.backends.device import AbstractDeviceBackend, DeviceBackend, decoded
from hybrid.devices.jobs import Assembly, Pub
from hybrid.devices.moments import moments, unpacked
from hybrid.devices.readout import Readout
from hybrid.devices.transpiling import measured_places
from hybrid.shots import apportion, whole_shots

# Shots of a row from which the sensitivity to readout errors is taken; it needs no more.
_SENSITIVITY_SHOTS = 1024
_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class ReadoutMitigated(AbstractDeviceBackend):
    """A device whose readout errors are measured with every job and undone, qubit by qubit.

    Each job has one circuit more, in two rows: all measured qubits in |0>, and in |1>. Errors of the values hold the
    noise of that calibration; circuits of a job share it, which they are not credited for: its variance is doubled, the
    most that it can be for a difference of two. What qubits do to each other's readout is not undone.

    Args:
        backend: the device.
        calibration_shots: of each row, on top of the shots that are planned.
    """

    backend: DeviceBackend
    calibration_shots: int = 10_000

    def __post_init__(self) -> None:
        if not isinstance(self.backend, DeviceBackend):
            raise TypeError(
                f"Argument `backend` must be a device, as `open_backend('fake:manila')` is, but is a "
                f"{type(self.backend).__name__}; zero-noise extrapolation goes around this wrapper."
            )
        if whole_shots(self.calibration_shots, "calibration_shots") < 1:
            raise ValueError(
                f"Argument `calibration_shots` must be at least 1, but is {self.calibration_shots}."
            )

    def run_together(self, requests: Sequence[Request], *, rng: np.random.Generator | None) -> list[Measured]:
        self.check(0, rng)
        assembly, places = self._assembly(requests)
        ran = self.backend.execute(assembly, rng)
        if not assembly.owners:
            return decoded(requests, assembly, ran)
        *_, calibration = ran.bits
        errors, shots = self._errors(assembly, calibration, len(places))
        readouts = [
            _of(errors, [places.index(place) for place in measured_places(pub.circuit)])
            for pub in assembly.pubs[:-1]
        ]
        measured = decoded(requests, assembly, ran, readouts)
        noise = _calibration_noise(measured, assembly, ran.bits, readouts, shots)
        return [
            replace(each, group_covariances=own + extra)
            for each, extra in zip(measured, noise, strict=True)
            if (own := each.group_covariances) is not None
        ]

    def price(self, requests: Sequence[Request]) -> Cost:
        assembly, _ = self._assembly(requests)
        return self.backend.priced(requests, assembly)

    def _assembly(self, requests: Sequence[Request]) -> tuple[Assembly, tuple[int, ...]]:
        """The job with the calibration as its last PUB, and the device's qubits behind the bits of that."""
        assembly = self.backend.assembly(requests)
        if not assembly.pubs:
            return assembly, ()
        places = tuple(sorted({place for pub in assembly.pubs for place in measured_places(pub.circuit)}))
        equal = self.backend.runner.equal_shots
        shots = assembly.pubs[0].shots if equal else self.calibration_shots
        repeats = math.ceil(self.calibration_shots / shots)
        assembly.pubs.append(
            Pub(
                circuit=self.backend.transpiler.readout_circuit(places),
                angles=np.repeat([[0.0], [math.pi]], repeats, axis=0),
                shots=shots,
                content=f"readout of {places}",
            )
        )
        assembly.extra_circuits += 2
        return assembly, places

    def _errors(self, assembly: Assembly, bits: np.ndarray, count: int) -> tuple[Readout, int]:
        rows = len(assembly.pubs[-1].angles) // 2
        read = unpacked(bits, count)
        up, down = read[:rows].mean((0, 1)), 1 - read[rows:].mean((0, 1))
        return Readout(up=torch.from_numpy(up), down=torch.from_numpy(down)), rows * bits.shape[1]


def _of(errors: Readout, index: list[int]) -> Readout:
    return Readout(up=errors.up[index], down=errors.down[index])


def _calibration_noise(
    measured: Sequence[Measured],
    assembly: Assembly,
    bits: Sequence[np.ndarray],
    readouts: Sequence[Readout],
    shots: int,
) -> list[Tensor]:
    """What the noise of the calibration adds to each request's covariances, twice."""
    added = [
        torch.zeros_like(each.group_covariances) for each in measured if each.group_covariances is not None
    ]
    for owner, own, readout in zip(assembly.owners, bits, readouts, strict=False):
        few = own[:, :_SENSITIVITY_SHOTS]
        base = moments(few, owner.group, readout)[0]
        total = torch.zeros(len(few), base.shape[1], base.shape[1], dtype=torch.float64)
        for name in ("up", "down"):
            probabilities = getattr(readout, name)
            for qubit, probability in enumerate(probabilities.tolist()):
                moved = probabilities.clone()
                moved[qubit] += _STEP
                slopes = (
                    (moments(few, owner.group, replace(readout, **{name: moved}))[0] - base)
                    / _STEP
                    / few.shape[1]
                )
                # A probability of zero that was seen is known to one in so many shots.
                variance = max(probability * (1 - probability), 1 / shots) / shots
                total += variance * slopes[:, :, None] * slopes[:, None, :]
        place = (
            torch.full((len(owner.rows),), owner.group_index),
            *map(torch.from_numpy, (owner.circuits, owner.rows)),
        )
        added[owner.request][place] = 2 * total
    return added


@dataclass(frozen=True, eq=False)
class ZeroNoise(AbstractDeviceBackend):
    """A device at several strengths of its two-qubit noise, and values carried back to none.

    Each circuit is run with every two-qubit gate in a row as often as `scales` say, and a polynomial through the values
    is taken at zero. The shots that are planned are shared out, the more to a scale the more it counts; circuits are
    as many times more as there are scales, and the noise grows. What is left of the bias nobody knows: it is not in the
    error bars. Source: Temme, Bravyi and Gambetta 2017, arXiv:1612.02058; He et al. 2020, arXiv:2003.04941.

    Args:
        backend: a device, or one whose readout is mitigated.
        scales: odd numbers, rising from 1.
        degree: of the polynomial; one less than scales by default.
    """

    backend: AbstractDeviceBackend
    scales: tuple[int, ...] = (1, 3)
    degree: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.backend, AbstractDeviceBackend) or isinstance(self.backend, ZeroNoise):
            raise TypeError(
                "Argument `backend` must be a device, as `open_backend('fake:manila')` is, or a ReadoutMitigated one, "
                f"but is a {type(self.backend).__name__}."
            )
        if not isinstance(self.scales, Sequence) or not all(type(scale) is int for scale in self.scales):
            raise ValueError(
                f"Argument `scales` must be odd numbers that rise, two or more, but is {self.scales!r}."
            )
        rising = all(a < b for a, b in zip(self.scales, self.scales[1:], strict=False))
        if (
            len(self.scales) < 2
            or self.scales[0] < 1
            or not rising
            or any(scale % 2 == 0 for scale in self.scales)
        ):
            raise ValueError(
                f"Argument `scales` must be odd numbers that rise, two or more, but is {self.scales!r}."
            )
        if self.degree is not None and not 1 <= self.degree < len(self.scales):
            raise ValueError(
                f"Argument `degree` must lie between 1 and {len(self.scales) - 1}, but is {self.degree}."
            )

    @property
    def weights(self) -> tuple[float, ...]:
        """What each scale's value counts at zero noise."""
        degree = len(self.scales) - 1 if self.degree is None else self.degree
        powers = np.array([[float(scale) ** k for k in range(degree + 1)] for scale in self.scales])
        return tuple(np.linalg.pinv(powers)[0].tolist())

    def run_together(self, requests: Sequence[Request], *, rng: np.random.Generator | None) -> list[Measured]:
        self.check(0, rng)
        measured = self.backend.run_together(self._scaled(requests), rng=rng)
        count = len(self.scales)
        return [self._at_zero(measured[i * count : (i + 1) * count]) for i in range(len(requests))]

    def price(self, requests: Sequence[Request]) -> Cost:
        return self.backend.price(self._scaled(requests))

    def _scaled(self, requests: Sequence[Request]) -> list[Request]:
        return [
            replace(request, shots=shots, folding=scale * request.folding)
            for request in requests
            for scale, shots in zip(self.scales, self._shared(request.shots), strict=True)
        ]

    def _shared(self, shots: Tensor) -> list[Tensor]:
        """Shots of each scale for a table of shots, by the size of its weight; two at least where there were some."""
        weights = [abs(weight) for weight in self.weights]
        least = 2 * len(self.scales)
        short = shots[(shots > 0) & (shots < least)]
        if len(short):
            raise ValueError(
                f"Zero-noise extrapolation over {len(self.scales)} scales needs {least} shots a circuit, but one gets "
                f"{int(short.min())}: raise `total_shots`."
            )
        shared = {0: [0] * len(weights)}
        for count in shots.unique().tolist():
            if count:
                shared[count] = [int(n) for n in apportion(count, torch.tensor(weights), 2)]
        return [
            torch.tensor([shared[count][k] for count in shots.flatten().tolist()]).view(shots.shape)
            for k in range(len(weights))
        ]

    def _at_zero(self, measured: Sequence[Measured]) -> Measured:
        values = torch.zeros_like(measured[0].group_values)
        covariances = torch.zeros_like(values[..., None] * values[..., None, :])
        for weight, each in zip(self.weights, measured, strict=True):
            assert each.group_covariances is not None
            values = values + weight * each.group_values
            covariances = covariances + weight**2 * each.group_covariances
        return replace(
            measured[0],
            group_values=values,
            group_covariances=covariances,
            cost=sum((each.cost for each in measured), Cost()),
        )
