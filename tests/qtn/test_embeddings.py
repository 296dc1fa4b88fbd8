"""Tensor embeddings, held against the dense table they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qtn import LayerMetric
from qtn.layers.embedding import AbstractTensorEmbedding
from qtn.layers.low_rank_embedding import LowRankEmbedding
from qtn.layers.mpo_embedding import MPOEmbedding

NUM, DIM = 23, 12


@dataclass(frozen=True, kw_only=True)
class EmbeddingCase:
    name: str
    kind: type[AbstractTensorEmbedding]
    compressed: Callable[[nn.Embedding | Tensor], AbstractTensorEmbedding]
    lossless: Callable[[nn.Embedding | Tensor], AbstractTensorEmbedding]


def _train_case(num_sites: int) -> EmbeddingCase:
    return EmbeddingCase(
        name=f"mpo_{num_sites}",
        kind=MPOEmbedding,
        compressed=lambda source: MPOEmbedding.from_dense(source, num_sites=num_sites, max_bond=3),
        lossless=lambda source: MPOEmbedding.from_dense(source, num_sites=num_sites),
    )


CASES = [
    EmbeddingCase(
        name="low_rank",
        kind=LowRankEmbedding,
        compressed=lambda source: LowRankEmbedding.from_dense(source, rank=3),
        lossless=LowRankEmbedding.from_dense,
    ),
    _train_case(2),
    _train_case(3),
    _train_case(4),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _dense(padding_idx: int | None = None, dtype: torch.dtype = torch.float64) -> nn.Embedding:
    source = nn.Embedding(NUM, DIM, padding_idx=padding_idx, dtype=dtype)
    with torch.no_grad():
        source.weight.copy_(random_tensor(NUM, DIM))
        if padding_idx is not None:
            source.weight[padding_idx] = 0.0
    return source


def _error(source: nn.Embedding, layer: AbstractTensorEmbedding) -> float:
    with torch.no_grad():
        return float((source.weight - layer.to_dense()).square().sum() / source.weight.square().sum())


def test_every_final_kind_is_in_the_list() -> None:
    assert set(AbstractTensorEmbedding.__subclasses__()) == {case.kind for case in CASES}
    assert all(getattr(case.kind, "__final__", False) for case in CASES)
    with pytest.raises(TypeError, match="abstract"):
        AbstractTensorEmbedding(2, 2, None, None)  # pyright: ignore[reportAbstractUsage]


@every_case
@pytest.mark.parametrize("padding_idx", [None, 4])
@pytest.mark.parametrize("shape", [(), (9,), (3, 2), (0,), (2, 0)], ids=str)
def test_values_and_gradients_are_those_of_the_table(
    case: EmbeddingCase, shape: tuple[int, ...], padding_idx: int | None
) -> None:
    layer = case.compressed(_dense(padding_idx))
    tokens = torch.randint(0, NUM, shape, generator=torch.Generator().manual_seed(1))
    if tokens.numel() > 1:
        tokens.view(-1)[:3] = torch.tensor([4, 4, NUM - 1])
    looked_up, reference = layer(tokens), layer.to_dense()[tokens]
    torch.testing.assert_close(looked_up, reference, rtol=1e-12, atol=1e-13)
    assert looked_up.shape == (*shape, DIM)
    wanted = list(layer.parameters())
    direct, dense = (
        torch.autograd.grad(((y + 1.0).square() * (tokens[..., None] != 4)).sum(), wanted)
        for y in (looked_up, reference)
    )
    for one, other in zip(direct, dense, strict=True):
        assert one.abs().max() > 0 or tokens.numel() <= 1
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@every_case
def test_the_padding_row_is_zero_and_stays_so(case: EmbeddingCase) -> None:
    layer = case.compressed(_dense(padding_idx=4))
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    everything = torch.arange(NUM)
    for _ in range(2):
        optimiser.zero_grad()
        (layer(everything) - 1.0).square().sum().backward()
        optimiser.step()
    assert layer.padding_idx == 4
    assert not layer(everything)[4].any() and not layer.to_dense()[4].any()
    assert layer(everything).any(dim=1).sum() == NUM - 1
    assert "padding_idx=4" in repr(layer) and f"kept={layer.kept:.4g}" in repr(layer)


@every_case
def test_without_options_nothing_is_lost(case: EmbeddingCase) -> None:
    source = _dense()
    for layer in (case.lossless(source), case.lossless(source.weight)):
        assert layer.discarded == 0.0
        torch.testing.assert_close(layer.to_dense(), source.weight, rtol=1e-12, atol=1e-12)


@every_case
@pytest.mark.parametrize("padding_idx", [None, 4])
def test_discarded_is_the_relative_squared_error(case: EmbeddingCase, padding_idx: int | None) -> None:
    source = _dense(padding_idx)
    layer = case.compressed(source)
    assert layer.discarded == pytest.approx(_error(source, layer), rel=1e-10)
    assert layer.discarded is not None and layer.discarded > 0.1
    capped = case.kind.from_dense(source, cutoff=0.3)
    assert capped.discarded is not None and 0.0 < capped.discarded <= 0.3


@every_case
@pytest.mark.parametrize("keep", [0.1, 0.4])
def test_a_budget_is_met_and_out_of_reach_refused(case: EmbeddingCase, keep: float) -> None:
    source = nn.Embedding(1009, 48)
    layer = case.kind.from_dense(source, keep=keep)
    assert layer.num_params == sum(parameter.numel() for parameter in layer.parameters())
    assert layer.kept == layer.num_params / source.weight.numel()
    # One rank more of the low-rank pair is 1057 parameters.
    assert abs(layer.kept - keep) <= (0.02 * keep if case.kind is MPOEmbedding else 0.5 * 1057 / (1009 * 48))
    for bad in (1e-6, -1.0, float("nan"), 1e3):
        with pytest.raises(ValueError, match="`keep` must be between"):
            case.kind.from_dense(source, keep=bad)
    with pytest.raises(ValueError, match=r"`keep` must stand without .* but one is given"):
        case.kind.from_dense(source, keep=0.5, cutoff=0.1)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_decomposes_and_runs(case: EmbeddingCase, dtype: torch.dtype) -> None:
    source = _dense(dtype=dtype)
    layer = case.lossless(source)
    assert {parameter.dtype for parameter in layer.parameters()} == {dtype}
    looked_up = layer(torch.arange(NUM))
    assert looked_up.dtype == dtype
    wanted = source.weight.double()
    for table in (looked_up, layer.to_dense()):
        assert (table.double() - wanted).norm() < 20 * torch.finfo(dtype).eps * wanted.norm()


@every_case
def test_the_state_goes_through_safetensors_and_nothing_is_shared(
    case: EmbeddingCase, tmp_path: Path
) -> None:
    source = _dense()
    state = torch.get_rng_state()
    layer, other = case.compressed(source), case.compressed(source).requires_grad_(False)
    assert torch.equal(torch.get_rng_state(), state)
    for parameter in other.parameters():
        parameter.zero_()
    assert torch.equal(source.weight, random_tensor(NUM, DIM))
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    assert torch.equal(other(torch.arange(NUM)), layer(torch.arange(NUM)))


@every_case
def test_a_layer_compiles_in_one_graph(case: EmbeddingCase) -> None:
    layer = case.compressed(_dense())
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for num in (2, 7):
        tokens = torch.arange(num)
        torch.testing.assert_close(compiled(tokens), layer(tokens), rtol=1e-12, atol=1e-13)


@every_case
def test_tokens_out_of_range_are_refused(case: EmbeddingCase) -> None:
    """The padded table of a train has rows beyond; they are not to be had."""
    layer = case.compressed(_dense())
    for token in (-1, NUM, 10_000):
        with pytest.raises(IndexError, match="out of range"):
            layer(torch.tensor([0, token]))


def test_frequencies_and_metric_give_the_best_table_of_the_rank() -> None:
    """Alternating least squares in the weighted norm, from the fit and from elsewhere, finds nothing better."""
    source, rank, damping = _dense(), 2, 0.1
    counts = torch.arange(NUM, dtype=torch.float64) ** 2
    samples = random_tensor(40, DIM, seed=2)
    outputs = samples.T @ samples / 40
    layer = LowRankEmbedding.from_dense(
        source, rank=rank, frequencies=counts, damping=damping, metric=LayerMetric(None, outputs, damping=0.0)
    )
    weights = (counts / counts.mean() + damping)[:, None]
    table = source.weight.detach()

    def norm(difference: Tensor) -> float:
        return float((weights * difference * (difference @ outputs)).sum())

    reached = norm(table - layer.to_dense().detach())
    assert layer.discarded == pytest.approx(reached / norm(table), rel=1e-10)
    for left in (layer.left.weight.detach(), random_tensor(DIM, rank, seed=3)):
        rows = layer.rows.weight.detach()
        for _ in range(300):
            rows = torch.linalg.solve(left.T @ outputs @ left, left.T @ outputs @ table.T).T
            left = torch.linalg.solve(rows.T @ (weights * rows), rows.T @ (weights * table)).T
        assert norm(table - rows @ left.T) == pytest.approx(reached, rel=1e-9)
    plain = LowRankEmbedding.from_dense(source, rank=rank)
    assert norm(table - plain.to_dense().detach()) > 1.01 * reached
    singular = torch.linalg.svdvals(table).square()
    assert plain.discarded == pytest.approx(float(singular[rank:].sum() / singular.sum()), rel=1e-10)


def test_children_are_of_torch_and_sparse_gradients_follow_the_source() -> None:
    source = nn.Embedding(NUM, DIM, sparse=True, dtype=torch.float64)
    layer = LowRankEmbedding.from_dense(source, rank=3)
    assert type(layer.rows) is nn.Embedding and type(layer.left) is nn.Linear
    layer(torch.tensor([1, 1, 5])).sum().backward()
    assert layer.rows.weight.grad is not None and layer.rows.weight.grad.is_sparse
    assert layer.rows.weight.grad.coalesce().indices().tolist() == [[1, 5]]
    with pytest.raises(
        ValueError, match="`source` must not be sparse, for cores have dense gradients; leave"
    ):
        MPOEmbedding.from_dense(source)


@every_case
def test_bad_sources_are_refused_by_name(case: EmbeddingCase) -> None:
    make = case.kind.from_dense
    with pytest.raises(
        TypeError, match=r"`source` must be a torch.nn.Embedding or a tensor, but is a Linear"
    ):
        make(nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"`source` must have shape \(num_embeddings, embedding_dim\), but"):
        make(torch.zeros(2, 3, 4))
    for optional in (nn.Embedding(4, 3, max_norm=1.0), nn.Embedding(4, 3, scale_grad_by_freq=True)):
        with pytest.raises(
            ValueError, match="`source` must have neither `max_norm` nor `scale_grad_by_freq`"
        ):
            make(optional)
    with pytest.raises(ValueError, match=r"`source` must be zero in its padding row 1, for .* to None"):
        make(nn.Embedding.from_pretrained(torch.ones(4, 3), padding_idx=1))
    with pytest.raises(TypeError, match=r"must have one of the dtypes .* but has torch.int64"):
        make(torch.ones(4, 6, dtype=torch.int64))


def test_bad_arguments_are_refused_by_name() -> None:
    source = _dense()
    fit = LowRankEmbedding.from_dense
    for rank in (0, 13):
        with pytest.raises(
            ValueError, match=rf"`rank` must be between 1 and 12 .* \(23, 12\), but is {rank}"
        ):
            fit(source, rank=rank)
    with pytest.raises(ValueError, match="`metric` must have no inputs, but has some"):
        fit(source, metric=LayerMetric(torch.eye(NUM), None))
    for bad in (torch.ones(4), -torch.ones(NUM), torch.zeros(NUM), torch.full((NUM,), float("nan"))):
        with pytest.raises(
            ValueError, match="`frequencies` must be 23 finite numbers of at least 0 and not all"
        ):
            fit(source, frequencies=bad)
    for damping in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"`damping` must be positive and finite .* but is {damping}"):
            fit(source, frequencies=F.one_hot(torch.tensor(2), NUM), damping=damping)
    with pytest.raises(ValueError, match=r"`rows` and `left` must have shapes .* \(4, 2\) and \(3, 1\)"):
        LowRankEmbedding(torch.zeros(4, 2), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="`padding_idx` must be from 0 to 3, but is 4"):
        LowRankEmbedding(torch.zeros(4, 2), torch.zeros(3, 2), padding_idx=4)
