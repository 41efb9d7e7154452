"""Jacobians of logits by latents, example by example.

Each example gets a copy of the mean as its own leaf, so one backward pass gives every example's gradient. An output layer that
meets one vector of each example gets none: its gradients are outer products with that vector, and never laid out; and where
these vectors have fewer numbers than there are outputs, they are what is differentiated by all other factors. For many classes
that is most of the time and the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.columns import missing_labels
from bayespeft.data.examples import Examples
from bayespeft.gaussians.outer import FeatureJacobian, OuterCurvature, OuterJacobian, StackJacobian
from bayespeft.layers.once import NotOnceError, Once
from bayespeft.likelihoods.base import Likelihood
from bayespeft.prediction.derivatives import derivatives, outputs_at_once
from bayespeft.prediction.folding import fitting
from bayespeft.prediction.last_block import LastBlock
from bayespeft.prediction.output_layer import OutputLayer, calls, last_factors, output_layer, unless_identity
from bayespeft.utils.memory import free_memory
from bayespeft.variational.adapted import Adapted

# Chooses directions (rows, K) float64 among outputs (rows, K).
Along = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Jacobian:
    """Outputs of some rows at the posterior mean, and how they move with the random stacks.

    Attributes:
        logits: (rows, K) float32, or (rows, positions, K) of some of the positions of an example.
        by_stack: stack -> d logits / d stack, (rows, outputs, layers, ...), with all axes of an example's outputs as one; or
            its factors, where they were asked for.
        labels: of the rows (at these positions), on the device, or None where the data has none.
        batch: the rows, on the device.
        likelihood: what the logits say of the labels.
        ends: no further positions of these rows follow.
        passes: numbers that were differentiated, a backward pass each.
        along: (rows, K) float64, on the CPU: of each example only this combination of its outputs was differentiated, so that
            `by_stack` has one output; None: all were.
    """

    logits: Tensor
    by_stack: dict[str, StackJacobian]
    labels: Tensor | None
    batch: Batch
    likelihood: Likelihood
    ends: bool = True
    passes: int = 0
    along: Tensor | None = None

    def log_likelihood(self) -> Tensor:
        """Return log p(label | logits), (rows,) float64, nats, multiplied by what the likelihood weighs each row with.

        Raises:
            DataError: there are no labels, or they are none that the likelihood knows.
        """
        if self.labels is None:
            raise missing_labels("the curvature")
        self.likelihood.check_labels(self.labels, self.logits.shape[-1])
        found, weights = self.likelihood.log_likelihood(self.logits, self.labels), self._weights
        return found if weights is None else found * weights

    @property
    def _weights(self) -> Tensor | None:
        return None if self.labels is None else self.likelihood.row_weights(self.labels)

    def by_position(self) -> dict[str, StackJacobian]:
        """Return `by_stack` with a row for each position of each example, (rows * positions, K, layers, ...)."""
        classes = self.logits.shape[-1]
        return {
            name: value.reshape(-1, classes, *value.shape[2:]) if isinstance(value, Tensor) else value
            for name, value in self.by_stack.items()
        }

    def roots(self) -> dict[str, Tensor | OuterCurvature]:
        """Return C columns of a root of each example's Gauss-Newton matrix, (rows, C, layers, ...) by stack.

        Of a stack whose Jacobian is in factors: the factors of its own block. Rows are weighed as in `log_likelihood`.
        """
        shape, weights = self.logits.shape, self._weights
        found: dict[str, Tensor | OuterCurvature] = {}
        curvature = None
        for name, value in self.by_stack.items():
            if isinstance(value, Tensor):
                by_output = value.reshape(*shape, *value.shape[2:])
                root = self.likelihood.curvature_root(self.logits, self.labels, by_output)
                found[name] = root if weights is None else root * _along(weights.sqrt(), root)
                continue
            if curvature is None:
                curvature = self.likelihood.curvature(self.logits, self.labels)
                curvature = curvature if weights is None else curvature * _along(weights, curvature)
            found[name] = value.root(curvature) if isinstance(value, FeatureJacobian) else value.curvature(curvature)
        return found


def _along(weights: Tensor, like: Tensor) -> Tensor:
    """Return weights of rows (n,) shaped to multiply another tensor (n, ...)."""
    return weights.reshape(-1, *[1] * (like.dim() - 1))


def jacobians(
    adapted: Adapted,
    examples: Examples,
    batch_size: int,
    separate: bool = False,
    differences: bool = False,
    along: Along | None = None,
) -> Iterator[Jacobian]:
    """Differentiate the outputs of all examples, batch by batch or, where that wouldn't fit into memory, in parts of one.

    A point that took hours to train must not be lost to them.

    Args:
        adapted: the network.
        examples: the data.
        batch_size: examples of a pass.
        separate: what is made of the Jacobians goes stack by stack, so that those of output layers may come as factors.
        differences: differentiate what each output has more than the last, a backward pass less; or, if that is as cheap, the
            outputs.
        along: differentiate one combination of each example's outputs instead: which, for outputs (rows, K).
    """
    once: frozenset[str] | None = None if separate and along is None else frozenset()
    mean, classes = adapted.joint_guide.latent.mean(), adapted.classes or 1
    classes = 1 if along else classes
    features = classes
    for batch in examples.batches(batch_size):
        if once is None:
            once, features = _met_once(adapted, next(batch.parts(1)), classes)
        # Of an output layer that meets one vector, the derivatives by what it gives are kept, and not those by its weights.
        of_heads = sum(len(mean[name][0]) for name in once)
        numbers = sum(value.numel() for name, value in mean.items() if name not in once)
        # A copy of the numbers and its gradient; K rows of a Jacobian and of a root, both once more in double precision.
        bytes_each = torch.float32.itemsize * (numbers * (2 + 6 * features) + of_heads * (2 + 6 * classes))
        rows = fitting(len(batch), bytes_each, free_memory(adapted.device))
        for part in batch.parts(rows):
            yield from jacobian(adapted, part, bytes_each * len(part), once, differences, along)


def _met_once(adapted: Adapted, batch: Batch, classes: int) -> tuple[frozenset[str], int]:
    """Return the stacks of output layers that meet one vector of each example, as those of this batch show.

    And how many numbers are differentiated by the other factors: those of such a vector, or K outputs.
    """
    once = _heads(adapted)
    while once:
        try:
            with torch.enable_grad():
                _, weights, logits, last = _bound(adapted, batch.to(adapted.device), once)
        except NotOnceError as error:
            once -= {error.name}
            continue
        finally:
            adapted.attachment.bind({})
        if logits.dim() > 2:  # an example has outputs at several positions
            return frozenset(), classes
        met = frozenset(name for name, weight in weights.items() if weight.met is not None)
        return met, classes if last is None else last.features.shape[1]
    return once, classes


def _heads(adapted: Adapted) -> frozenset[str]:
    """Return the stacks of one matrix or vector that belong to output layers."""
    stacks = adapted.joint_guide.latent.stacks
    fresh = {p.name for p in stacks if p.role == "head" and len(p.init) == 1 < p.init.dim() < 4}
    return frozenset(fresh | last_factors(adapted).keys())


def _bound(
    adapted: Adapted, moved: Batch, once: frozenset[str]
) -> tuple[dict[str, Tensor], dict[str, Once], Tensor, OutputLayer | None]:
    """Run a batch; return the examples' leaves and the weights that meet one vector each, by stack, outputs, the last layer."""
    rows, mean = len(moved), adapted.joint_guide.latent.mean()
    leaves, weights = {}, {}
    for name, value in mean.items():
        own = value.detach()
        if name in once:
            leaf = torch.zeros(rows, len(own[0]), device=own.device)
            weights[name] = Once(name, own[0], leaf, rows)
        else:
            leaf = own.expand(rows, *own.shape).clone()
        leaves[name] = leaf.requires_grad_()
    with (
        LastBlock(adapted).at_what_is_read(moved),
        calls({name: layer for name, layer in last_factors(adapted).items() if name in once}) as called,
    ):
        adapted.attachment.bind(adapted.joint_guide.example_weights(leaves, weights))
        logits = adapted.likelihood.logits(adapted.model, moved)
    adapted.check_outputs(logits)
    logits = adapted.likelihood.among(logits, moved)
    return leaves, weights, logits, output_layer(logits, weights, called)


def jacobian(
    adapted: Adapted,
    batch: Batch,
    bytes_each: int,
    once: frozenset[str] = frozenset(),
    differences: bool = False,
    along: Along | None = None,
) -> Iterator[Jacobian]:
    """Differentiate the outputs of a batch: one forward pass, and a backward pass for each output, or for several at once.

    The network must be frozen and in evaluation mode, and its hooks switched on.

    Args:
        adapted: the network.
        batch: examples.
        bytes_each: what K outputs of each take; where an example has K at each of several positions, the Jacobian comes for as
            many positions at a time as fit.
        once: stacks whose Jacobian is wanted in factors; where this batch shows that they have none, it is dense.
        differences, along: as for `jacobians`.
    """
    moved = batch.to(adapted.device)
    with torch.enable_grad():
        try:
            leaves, weights, logits, last = _bound(adapted, moved, once)
        except NotOnceError:
            leaves, weights, logits, last = _bound(adapted, moved, frozenset())
    at_once = outputs_at_once(adapted.model)
    if last is not None:
        with torch.enable_grad():
            by_feature = _by_features(last, leaves, weights, at_once)
        passes = last.features.shape[1] if last.features.requires_grad else 0
        yield Jacobian(logits.detach(), by_feature, moved.labels, moved, adapted.likelihood, passes=passes)
        adapted.attachment.bind({})
        return
    if along is not None:
        chosen = along(logits.detach())
        with torch.enable_grad():
            by_stack = derivatives((logits * chosen.to(logits)).sum(-1, keepdim=True), leaves, None, True)
        yield Jacobian(logits.detach(), dict(by_stack), moved.labels, moved, adapted.likelihood, passes=1, along=chosen)
        adapted.attachment.bind({})
        return
    counted = adapted.likelihood.counted(moved)
    spread = logits.dim() > 2
    positions = logits.shape[1] if spread else 1
    step = fitting(positions, bytes_each, free_memory(adapted.device))
    for start in range(0, positions, step):
        some = slice(start, start + step)
        ends = start + step >= positions
        with torch.enable_grad():
            part = logits[:, some] if spread else logits
            moving = part - part[..., -1:] if differences else part
            used = _used(moving.shape[1:], None if counted is None else counted[:, some].any(0), differences)
            by_stack = derivatives(moving.flatten(1), leaves, used, ends, at_once)
        labels = moved.labels[:, some] if spread and moved.labels is not None else moved.labels
        found: dict[str, StackJacobian] = {
            name: OuterJacobian(unless_identity(value), weights[name].right, weights[name].value.shape)
            if name in weights
            else value
            for name, value in by_stack.items()
        }
        passes = moving[0].numel() if used is None else sum(used)
        yield Jacobian(part.detach(), found, labels, moved, adapted.likelihood, ends, passes)
    adapted.attachment.bind({})


def _by_features(
    last: OutputLayer, leaves: dict[str, Tensor], weights: dict[str, Once], at_once: int
) -> dict[str, StackJacobian]:
    """Return the derivatives of outputs W x + b by all stacks: those of x (rows, n) by all but W and b, and W."""
    others = {name: leaf for name, leaf in leaves.items() if name not in last.names}
    if others and last.features.requires_grad:
        by_stack = derivatives(last.features, others, None, True, at_once)
    else:
        count = last.features.shape[1]
        by_stack = {name: leaf.new_zeros(len(leaf), count, *leaf.shape[1:]) for name, leaf in others.items()}
    found: dict[str, StackJacobian] = {}
    for name in leaves:
        if name in weights:
            left = None if name in last.names else last.weight @ by_stack[name].float()
            found[name] = OuterJacobian(left, weights[name].right, weights[name].value.shape)
        else:
            found[name] = FeatureJacobian(by_stack[name].float(), last.weight)
    return found


def _used(shape: torch.Size, counted: Tensor | None, differences: bool) -> list[bool] | None:
    """Return which of an example's outputs, of this shape, are to be differentiated; None: all.

    Args:
        shape: (K,), or (positions, K).
        counted: positions that somebody asks about, (positions,).
        differences: the last of K outputs is none.
    """
    if counted is None and not differences:
        return None
    used = torch.ones(shape, dtype=torch.bool)
    if counted is not None:
        used &= counted.cpu().unsqueeze(-1)
    if differences:
        used[..., -1] = False
    return used.flatten().tolist()
