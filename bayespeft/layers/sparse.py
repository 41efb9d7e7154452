"""Sparse matrices on a fixed pattern: the product with an input, and gradients of the non-zeros alone.

For S (m, n) with k non-zeros, y = S x costs k multiplications a row. The backward pass gives dx = S^T dy and, of the dense
gradient dy^T x, only what lies on the pattern (Nikdan et al. 2024, arXiv 2401.04679, section 4), so nothing of size
m x n outlives a call; only the kernel for high densities makes such a thing at all. A pattern takes 12 bytes a non-zero and
4 (m + n + 2) more, and is derived once from the positions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakIdKeyDictionary

from bayespeft.errors import ConfigError

# From about this density on the dense product is faster than CSR on a CPU (`python -m paper_repro.sparse.step`: at 2 % CSR is,
# at 10 % it is not). No GPU has been measured: there the same number stands for the memory that CSR saves.
DENSE_FROM = 0.08
# The work arrays of one chunk of gathered rows hold this many numbers: 4 MiB in float32.
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where the non-zeros of an m x n matrix are, row by row; all index tensors are int32.

    Attributes:
        shape: (m, n).
        crow: (m + 1,) where each row starts, as in CSR.
        col: (k,) columns.
        ccol: (n + 1,) where each column starts in the transposed order.
        row: (k,) rows, in the transposed order.
        order: (k,) which non-zero comes when in the transposed order.
    """

    shape: tuple[int, int]
    crow: Tensor
    col: Tensor
    ccol: Tensor
    row: Tensor
    order: Tensor

    @staticmethod
    def of(index: Tensor, m: int, n: int) -> Pattern:
        """Derive a pattern from flat positions row * n + column, (k,), ascending.

        Raises:
            ConfigError: positions are no whole numbers, are outside the matrix, not ascending, or twice there.
        """
        if index.is_floating_point() or index.dim() != 1 or not len(index):
            raise ConfigError(
                f"positions of non-zeros must be a vector of whole numbers, not {index.dtype} of shape {tuple(index.shape)}."
            )
        index = index.long()
        if int(index[0]) < 0 or int(index[-1]) >= m * n or bool((index.diff() <= 0).any()):
            raise ConfigError(
                f"the positions of a {m} x {n} matrix's non-zeros must ascend from 0 to {m * n - 1}, each once."
            )
        row, col = index // n, index % n
        order = torch.argsort(col, stable=True)
        return Pattern((m, n), _starts(row, m), col.int(), _starts(col, n), row[order].int(), order.int())

    @property
    def density(self) -> float:
        """k / (m n)."""
        return len(self.col) / (self.shape[0] * self.shape[1])

    def rows(self) -> Tensor:
        """Return the row of each non-zero (k,), made anew."""
        return torch.repeat_interleave(self.crow.diff(), output_size=len(self.col))

    def index(self) -> Tensor:
        """Return flat positions (k,) int64, made anew."""
        return self.rows().long() * self.shape[1] + self.col


def _starts(ids: Tensor, size: int) -> Tensor:
    counts = torch.bincount(ids, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()


# Patterns hold no reference to the tensor that they come from, so that they go when it goes.
_patterns: WeakIdKeyDictionary = WeakIdKeyDictionary()


def pattern_of(index: Tensor, m: int, n: int) -> Pattern:
    """Return the pattern of positions (k,), derived once for as long as they stay where and what they are.

    Positions are mostly a row of a larger tensor that lives long: the pattern is kept beside that one.

    Raises:
        ConfigError: as `Pattern.of`.
    """
    owner = index if index._base is None else index._base
    kept: dict[tuple[int, ...], Pattern] = _patterns.setdefault(owner, {})  # type: ignore[no-untyped-call]
    key = (owner._version, int(index.storage_offset()), len(index), m, n)
    if key not in kept:
        for old in [other for other in kept if other[0] != owner._version]:
            del kept[old]
        kept[key] = Pattern.of(index, m, n)
    return kept[key]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One way to compute the three products of a sparse matrix with values (k,).

    Attributes:
        name: in tables.
        forward: (pattern, values, x (rows, n)) -> S x of each row, (rows, m).
        backward: (pattern, values, dy (rows, m)) -> S^T dy of each row, (rows, n).
        gradient: (pattern, dy (rows, m), x (rows, n)) -> dy^T x on the pattern, (k,).
        half: takes bf16 and float16; others compute in float32 then.
    """

    name: str
    forward: Callable[[Pattern, Tensor, Tensor], Tensor]
    backward: Callable[[Pattern, Tensor, Tensor], Tensor]
    gradient: Callable[[Pattern, Tensor, Tensor], Tensor]
    half: bool = False


@cache
def _announced() -> None:
    """Let torch say once that its CSR tensors are in beta state, where nobody has to hear it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _matrix(torch.zeros(2, dtype=torch.int32), torch.zeros(0, dtype=torch.int32), torch.zeros(0), (1, 1))


def _matrix(crow: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(crow, col, values, shape, check_invariants=False)


def _csr(pattern: Pattern, values: Tensor) -> Tensor:
    _announced()
    return _matrix(pattern.crow, pattern.col, values, pattern.shape)


def _csr_forward(pattern: Pattern, values: Tensor, x: Tensor) -> Tensor:
    # In the order that other layers use: a transposed result slows down every element-wise operation after it.
    return (_csr(pattern, values) @ x.mT).mT.contiguous()


def _csr_backward(pattern: Pattern, values: Tensor, dy: Tensor) -> Tensor:
    _announced()
    turned = _matrix(pattern.ccol, pattern.row, values.index_select(0, pattern.order), pattern.shape[::-1])
    return (turned @ dy.mT).mT.contiguous()


def _csr_gradient(pattern: Pattern, dy: Tensor, x: Tensor) -> Tensor:
    empty = _csr(pattern, x.new_zeros(len(pattern.col)))
    product: Tensor = torch.sparse.sampled_addmm(empty, dy.mT, x, beta=0.0)
    return product.values()


def _chunks(pattern: Pattern, width: int) -> Sequence[slice]:
    size = max(1, _CHUNK // max(width, 1))
    return [slice(start, start + size) for start in range(0, len(pattern.col), size)]


def _bags(source: Tensor, at: Tensor, starts: Tensor, values: Tensor) -> Tensor:
    """Sum values times rows of `source` (size, width), from each start to the next: (starts, width)."""
    return F.embedding_bag(at, source.contiguous(), starts[:-1], mode="sum", per_sample_weights=values)


def _gather_forward(pattern: Pattern, values: Tensor, x: Tensor) -> Tensor:
    return _bags(x.mT, pattern.col, pattern.crow, values).mT.contiguous()


def _gather_backward(pattern: Pattern, values: Tensor, dy: Tensor) -> Tensor:
    return _bags(dy.mT, pattern.row, pattern.ccol, values.index_select(0, pattern.order)).mT.contiguous()


def _gather_gradient(pattern: Pattern, dy: Tensor, x: Tensor) -> Tensor:
    dy, x, rows = dy.mT.contiguous(), x.mT.contiguous(), pattern.rows()
    return torch.cat(
        [torch.einsum("kr,kr->k", dy[rows[part]], x[pattern.col[part]]) for part in _chunks(pattern, dy.shape[1])]
    )


def _dense(pattern: Pattern, values: Tensor) -> Tensor:
    m, n = pattern.shape
    return values.new_zeros(m * n).scatter_(0, pattern.index(), values).reshape(m, n)


def _dense_forward(pattern: Pattern, values: Tensor, x: Tensor) -> Tensor:
    return x @ _dense(pattern, values).mT


def _dense_backward(pattern: Pattern, values: Tensor, dy: Tensor) -> Tensor:
    return dy @ _dense(pattern, values)


def _dense_gradient(pattern: Pattern, dy: Tensor, x: Tensor) -> Tensor:
    return (dy.mT @ x).flatten()[pattern.index()]


CSR = Kernel("csr", _csr_forward, _csr_backward, _csr_gradient)
GATHER = Kernel("gather", _gather_forward, _gather_backward, _gather_gradient)
DENSE = Kernel("dense", _dense_forward, _dense_backward, _dense_gradient, half=True)
KERNELS = (CSR, GATHER, DENSE)


def choose(pattern: Pattern, device: torch.device) -> Kernel:
    """Return the kernel for a pattern: dense where many numbers are not zero, else CSR where the device has it."""
    if pattern.density >= DENSE_FROM:
        return DENSE
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return CSR if device.type == "cuda" or (device.type == "cpu" and has_mkl) else GATHER


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, pattern: Pattern, kernel: Kernel) -> Tensor:
        ctx.save_for_backward(x, values)
        ctx.pattern, ctx.kernel = pattern, kernel
        dtype = _dtype(x, kernel)
        with torch.autocast(x.device.type, enabled=False):
            groups = zip(values.to(dtype), x.to(dtype), strict=True)
            return _stack([kernel.forward(pattern, v, rows) for v, rows in groups]).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (x, values), pattern, kernel = ctx.saved_tensors, ctx.pattern, ctx.kernel
        dtype = _dtype(x, kernel)
        dx = gradient = None
        with torch.autocast(x.device.type, enabled=False):
            dy = dy.to(dtype)
            if ctx.needs_input_grad[0]:
                pairs = zip(values.to(dtype), dy, strict=True)
                dx = _stack([kernel.backward(pattern, v, rows) for v, rows in pairs]).to(x.dtype)
            if ctx.needs_input_grad[1]:
                pairs = zip(dy, x.to(dtype), strict=True)
                gradient = _stack([kernel.gradient(pattern, d, rows) for d, rows in pairs]).to(values.dtype)
        return dx, gradient, None, None


def _dtype(x: Tensor, kernel: Kernel) -> torch.dtype:
    return x.dtype if kernel.half or x.dtype == torch.float64 else torch.float32


def _stack(parts: Sequence[Tensor]) -> Tensor:
    """Stack without a copy of what is alone."""
    return parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(list(parts))


def sparse_linear(x: Tensor, values: Tensor, pattern: Pattern, kernel: Kernel | None = None) -> Tensor:
    """Apply a sparse matrix (m, n) to the last dimension of x.

    Args:
        x: (..., n).
        values: (k,), the non-zeros in the pattern's order; or (G, k), one set for each of G groups of consecutive rows.
        pattern: where they are.
        kernel: how to compute; by default as `choose` says.

    Returns:
        (..., m), in x's dtype.

    Raises:
        ConfigError: x, values and pattern don't fit together.
    """
    m, n = pattern.shape
    groups = 1 if values.dim() == 1 else len(values)
    if x.shape[-1] != n or values.shape[-1] != len(pattern.col) or (values.dim() == 2 and len(x) % groups):
        raise ConfigError(
            f"an input of shape {tuple(x.shape)} and values of shape {tuple(values.shape)} don't fit a {m} x {n} matrix of "
            f"{len(pattern.col)} non-zeros."
        )
    kernel = kernel or choose(pattern, x.device)
    y: Tensor = _Product.apply(x.reshape(groups, -1, n), values.reshape(groups, -1), pattern, kernel)  # type: ignore[no-untyped-call]
    return y.reshape(*x.shape[:-1], m)
