"""Means of losses and derivatives over independent random angles, exactly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from classical.angle_laws import OutsideTheWalk
from classical.paulis import PauliString
from classical.string_batch import StringBatch
from classical.walk_model import Damping, Permutation, Turn, WalkModel
from classical.walk_observables import Terms, ZeroProjector


def first_moments(model: WalkModel, terms: Terms) -> tuple[float, Tensor]:
    """Returns E[loss], the identity term left out, and E[d loss / d t] by each rotation with a parameter.

    Averaged over its angle, a rotation takes a string to one other at most: each term follows one path, and a
    derivative leaves it at its own rotation.

    Cost: derivatives times gates times terms, in bit arithmetic; nothing where angles are uniform over whole turns.

    Raises:
        OutsideTheWalk: where sine and cosine of an angle both have a mean.
    """
    turns = [move for move in model.moves if isinstance(move, Turn) and move.slope]
    places = {move.rotation: k for k, move in enumerate(turns)}
    derivatives = np.zeros(len(turns))
    if isinstance(terms, ZeroProjector):
        if any(isinstance(move, Turn) and (move.cosine or move.sine) for move in model.moves):
            raise OutsideTheWalk(
                "The projector's means take 2^n paths where angles are not uniform: give its terms, or sample."
            )
        # Where cross terms die, each string dies too.
        return 0.0, torch.from_numpy(derivatives)
    labels, coefficients = zip(*terms, strict=True)
    strings = StringBatch.of([PauliString.of(label) for label in labels], model.num_qubits)
    values = np.array(coefficients, dtype=np.float64)
    # The derivative that a path belongs to; that of the loss itself is -1.
    owners = np.full(len(labels), -1)
    for move in reversed(model.moves):
        if isinstance(move, Permutation):
            strings.pull(move)
            continue
        if isinstance(move, Damping) or move.redrawn:
            # One of three axes leaves a letter, the others average it out; derivatives have mean zero.
            factors = move.by_letter if isinstance(move, Damping) else (1.0, 1 / 3, 1 / 3, 1 / 3)
            values = values * np.array(factors)[strings.letters(move.qubits[0])]
            continue
        if move.cosine and move.sine:
            raise OutsideTheWalk(
                f"Rotation {move.rotation} has means of both sine and cosine, so paths of first moments branch: "
                "sample it instead."
            )
        odd = strings.anticommuting(move.letters, move.qubits)
        # d/dt (cos Q + sin iPQ) = slope (cos iPQ - sin Q).
        leaving = odd & (owners < 0)
        born = strings.kept(leaving)
        born_values = values[leaving] * move.slope * (move.cosine or -move.sine)
        if move.cosine:
            born.turn(move.letters, move.qubits, np.ones(len(born), dtype=bool))
        elif move.sine:
            strings.turn(move.letters, move.qubits, odd)
        values = np.append(np.where(odd, values * (move.cosine or move.sine), values), born_values)
        owners = np.append(owners, np.full(len(born), places.get(move.rotation, -1)))
        strings = strings.with_others(born)
        alive = values != 0
        strings, values, owners = strings.kept(alive), values[alive], owners[alive]
    sites = [(1.0, x, z, y) for x, y, z in model.bloch.tolist()]
    closed = values * strings.signs * strings.closed(sites)
    np.add.at(derivatives, owners[owners >= 0], closed[owners >= 0])
    return float(closed[owners < 0].sum()), torch.from_numpy(derivatives)
