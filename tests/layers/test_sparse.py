"""Products with a sparse matrix and their gradients equal the dense ones on the mask, and nothing dense is kept."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from bayespeft.errors import ConfigError, GuideError
from bayespeft.layers import sparse
from bayespeft.layers.sparse import CSR, DENSE, GATHER, KERNELS, Pattern, choose, pattern_of, sparse_linear
from bayespeft.layers.weights import Flipped, Grouped, Shared, TokenFlipped
from bayespeft.variational.noise import spread

sizes = st.integers(1, 6)
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=[kernel.name for kernel in KERNELS])


def a_mask(m: int, n: int, generator: torch.Generator) -> torch.Tensor:
    """Ascending positions of about a third of the elements, at least one."""
    k = max(1, m * n // 3)
    return torch.randperm(m * n, generator=generator)[:k].sort().values


def dense(values: torch.Tensor, index: torch.Tensor, m: int, n: int) -> torch.Tensor:
    return values.new_zeros(m * n).index_put((index,), values).reshape(m, n)


@kernels
@given(m=sizes, n=sizes, batch=sizes, tokens=sizes, seed=st.integers(0, 1000))
def test_product_and_masked_gradients_are_the_dense_ones(kernel, m, n, batch, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    index = a_mask(m, n, generator)
    x = torch.randn(batch, tokens, n, generator=generator, dtype=torch.double, requires_grad=True)
    values = torch.randn(len(index), generator=generator, dtype=torch.double, requires_grad=True)
    dy = torch.randn(batch, tokens, m, generator=generator, dtype=torch.double)
    y = sparse_linear(x, values, Pattern.of(index, m, n), kernel)
    expected = x @ dense(values, index, m, n).T
    torch.testing.assert_close(y, expected)
    found = torch.autograd.grad(y, (x, values), dy)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (x, values), dy))
    # The masked gradient is the dense gradient dy^T x, on the mask.
    whole = dy.flatten(0, 1).T @ x.flatten(0, 1)
    torch.testing.assert_close(found[1], whole.flatten()[index])


@kernels
@given(groups=sizes, each=sizes, seed=st.integers(0, 1000))
def test_each_group_of_rows_meets_its_own_values(kernel, groups, each, seed):
    generator = torch.Generator().manual_seed(seed)
    m, n = 5, 4
    index = a_mask(m, n, generator)
    x = torch.randn(groups * each, 3, n, generator=generator, dtype=torch.double, requires_grad=True)
    values = torch.randn(groups, len(index), generator=generator, dtype=torch.double, requires_grad=True)
    y = sparse_linear(x, values, Pattern.of(index, m, n), kernel)
    expected = torch.stack([x[i] @ dense(values[i // each], index, m, n).T for i in range(len(x))])
    torch.testing.assert_close(y, expected)
    dy = torch.randn(y.shape, generator=generator, dtype=torch.double)
    torch.testing.assert_close(torch.autograd.grad(y, (x, values), dy), torch.autograd.grad(expected, (x, values), dy))


@kernels
def test_gradients_that_nobody_wants_are_not_computed(kernel):
    pattern, x = Pattern.of(torch.tensor([1, 2]), 2, 3), torch.randn(4, 3)
    for needs in ((True, False), (False, True)):
        inputs = [x.clone().requires_grad_(needs[0]), torch.ones(2, requires_grad=needs[1])]
        sparse_linear(inputs[0], inputs[1], pattern, kernel).sum().backward()
        assert [i.grad is not None for i in inputs] == list(needs)


@kernels
def test_half_precision_comes_out_as_it_went_in_and_values_stay_float32(kernel):
    generator = torch.Generator().manual_seed(0)
    index = a_mask(8, 6, generator)
    x = torch.randn(5, 6, generator=generator).bfloat16().requires_grad_()
    values = torch.randn(len(index), generator=generator, requires_grad=True)
    y = sparse_linear(x, values, Pattern.of(index, 8, 6), kernel)
    expected = x.float() @ dense(values, index, 8, 6).T
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, atol=0.1, rtol=0.05)
    y.sum().backward()
    assert (x.grad.dtype, values.grad.dtype) == (torch.bfloat16, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sparse_linear(x.detach().float(), values.detach(), Pattern.of(index, 8, 6), kernel)
    torch.testing.assert_close(inside, expected.detach())


class _Largest(TorchDispatchMode):
    """The largest tensor, in numbers, that any operation inside the block returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                stored = len(tensor.values()) if tensor.layout == torch.sparse_csr else tensor.numel()
                self.numel = max(self.numel, stored)
        return out


@kernels
def test_no_dense_matrix_is_made_or_kept(kernel):
    m, n, rows, k = 64, 80, 3, 50
    index = torch.arange(k) * 101
    pattern = Pattern.of(index, m, n)
    x, values = torch.randn(rows, n, requires_grad=True), torch.randn(k, requires_grad=True)
    saved = []
    with _Largest() as seen:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
            y = sparse_linear(x, values, pattern, kernel)
        y.sum().backward()
    if kernel is DENSE:  # made for a moment, not kept
        assert seen.numel == m * n
    else:
        assert seen.numel <= max(rows * n, rows * m, rows * k)
    assert max(saved) <= rows * n
    assert values.grad.shape == (k,)


class TestPattern:
    @given(m=sizes, n=sizes, seed=st.integers(0, 1000))
    def test_both_orders_say_the_same(self, m, n, seed):
        index = a_mask(m, n, torch.Generator().manual_seed(seed))
        pattern = Pattern.of(index, m, n)
        assert torch.equal(pattern.index(), index)
        transposed = torch.repeat_interleave(pattern.ccol.diff()) + pattern.row.long() * n
        assert torch.equal(transposed, index[pattern.order.long()])
        assert pattern.density == pytest.approx(len(index) / (m * n))
        assert {t.dtype for t in (pattern.crow, pattern.col, pattern.ccol, pattern.row, pattern.order)} == {torch.int32}

    @pytest.mark.parametrize("index", [[2, 1], [1, 1], [-1, 0], [0, 6]])
    def test_wrong_positions_are_refused(self, index):
        with pytest.raises(ConfigError, match="must ascend from 0 to 5"):
            Pattern.of(torch.tensor(index), 2, 3)

    def test_positions_are_whole_numbers(self):
        for index in (torch.tensor([1.0]), torch.zeros(0, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)):
            with pytest.raises(ConfigError, match="vector of whole numbers"):
                Pattern.of(index, 2, 3)

    def test_is_derived_once_and_again_when_the_positions_change(self, monkeypatch):
        calls = []
        monkeypatch.setattr(sparse.Pattern, "of", lambda *a, of=Pattern.of: calls.append(a) or of(*a))
        stacked = torch.tensor([[0, 3], [1, 2]])
        first = pattern_of(stacked[0], 2, 2)
        assert pattern_of(stacked[0], 2, 2) is first
        assert pattern_of(stacked.unbind()[0], 2, 2) is first
        assert pattern_of(stacked[1], 2, 2) is not first
        assert len(calls) == 2
        stacked[0, 1] = 2
        assert torch.equal(pattern_of(stacked[0], 2, 2).index(), stacked[0])
        assert torch.equal(pattern_of(copy.deepcopy(stacked)[1], 2, 2).index(), stacked[1])

    def test_goes_when_its_positions_go(self):
        stacked = torch.tensor([[0, 3]])
        kept = weakref.ref(pattern_of(stacked[0], 2, 2).col)
        assert kept() is not None
        del stacked
        gc.collect()
        assert kept() is None


def test_dense_products_are_for_dense_patterns():
    few, many = Pattern.of(torch.tensor([5]), 20, 20), Pattern.of(torch.arange(60), 20, 20)
    assert choose(many, torch.device("cpu")) is choose(many, torch.device("cuda")) is DENSE
    assert choose(few, torch.device("cuda")) is CSR
    assert choose(few, torch.device("cpu")) is (CSR if torch.backends.mkl.is_available() else GATHER)
    assert choose(few, torch.device("mps")) is GATHER


def test_sizes_that_do_not_fit_are_refused():
    pattern = Pattern.of(torch.tensor([1, 2]), 2, 3)
    for x, values in (
        (torch.zeros(4, 2), torch.zeros(2)),
        (torch.zeros(4, 3), torch.zeros(3)),
        (torch.zeros(4, 3), torch.zeros(3, 2)),
    ):
        with pytest.raises(ConfigError, match="don't fit a 2 x 3 matrix of 2 non-zeros"):
            sparse_linear(x, values, pattern)


class TestWeights:
    """What weights do as the non-zeros of a matrix."""

    def test_kinds_that_can_not(self):
        pattern, x = Pattern.of(torch.tensor([0]), 1, 1), torch.ones(1, 1, 1)
        with pytest.raises(GuideError, match=r"sign for each token and each non-zero.*flipout"):
            TokenFlipped(torch.zeros(1), torch.ones(1)).sparse(x, pattern)
        with pytest.raises(GuideError, match="where the non-zeros"):
            Grouped(torch.zeros(1, 1, dtype=torch.long)).pattern(1, 1)
        matrix = Flipped(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 1))
        with pytest.raises(GuideError, match="matrix of shape"):
            matrix.sparse(x, pattern)

    @pytest.mark.parametrize("noise", ["batch", "example", "flipout"])
    def test_moments_in_each_noise_mode(self, noise):
        """Mean 0 around the mean's product; variance and covariance over examples and tokens in closed form."""
        batch, tokens, m, n, draws = 2, 2, 2, 3, 4000
        generator = torch.Generator().manual_seed(0)
        index = torch.tensor([0, 2, 4, 5])
        pattern = Pattern.of(index, m, n)
        mean, std = torch.linspace(-1, 1, 4).reshape(1, 4), torch.linspace(0.3, 1, 4).reshape(1, 4)
        x = 1 + torch.rand(batch, tokens, n, generator=generator)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            shape = (batch, 1, 4) if noise == "example" else (1, 4)
            y = torch.stack(
                [
                    spread(noise, mean + std * torch.randn(shape), mean, 0, batch).sparse(x, pattern)
                    for _ in range(draws)
                ]
            )
        centered = y - Shared(mean[0]).sparse(x, pattern)
        variances = dense(std[0].square(), index, m, n)

        def covariance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a * b) @ variances.T

        variance = covariance(x, x)
        assert (centered.mean(0).abs() < 5 * (variance / draws).sqrt()).all()
        # Sums of products of normals with signs: fourth moments at most 3 variances squared.
        assert ((centered.square().mean(0) - variance).abs() < 5 * variance * (2 / draws) ** 0.5).all()
        error = 5 * (3 / draws) ** 0.5
        tokens_apart = (centered[:, 0, 0] * centered[:, 0, 1]).mean(0) - covariance(x[0, 0], x[0, 1])
        assert (tokens_apart.abs() < error * variance.amax((0, 1))).all()
        examples_apart = (centered[:, 0, 0] * centered[:, 1, 0]).mean(0) - covariance(x[0, 0], x[1, 0]) * (
            noise == "batch"
        )
        assert (examples_apart.abs() < error * variance.amax((0, 1))).all()
