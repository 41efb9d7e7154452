"""What every likelihood offers. It must say three things: what it reads from a row, its outputs, and its law.

All else has a default that follows from these: a law of finitely many classes (whose `enumerate_support` are 0 ... K - 1) is
averaged, measured and linearised as classes are; of any other the mixture over draws is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.config import Plugin
from bayespeft.data.batch import Batch
from bayespeft.data.columns import Row
from bayespeft.data.examples import Examples
from bayespeft.errors import ConfigError, DataError
from bayespeft.predictive.average import Average, DrawnGaussianAverage, GaussianAverage, Normals
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.law import LawAverage, classes_of, fisher_root, prediction_type

L = TypeVar("L", bound="Likelihood")


class Likelihood(Plugin, ABC):
    """p(label | network output): how rows become inputs, which outputs are needed, and what they say of the labels.

    Attributes:
        max_length: longest sequence in tokens; longer ones are cut. None: the tokenizer's or the network's limit.
        pads: where rows are padded; None: where it was shown, by a fit to rows of several lengths, to change nothing.
    """

    room: ClassVar[str] = "likelihoods"
    trains_head: ClassVar[bool] = False
    columns: ClassVar[str] = ""
    # Labels have probabilities, not densities: the NLL has a scale of its own.
    discrete: ClassVar[bool] = True
    # A linearised network's outputs are Gaussian; the likelihood can average over these in closed form, or by draws of them.
    linearises: ClassVar[bool] = True
    # Outputs are logits, which a temperature may divide.
    tempers: ClassVar[bool] = False
    # The same number added to all outputs changes nothing, so that their differences from the last say all. What inherits this
    # and is no softmax must take it back.
    by_differences: ClassVar[bool] = False
    # The likelihood reads these columns of a batch, and the network does not.
    reads: ClassVar[tuple[str, ...]] = ()
    # Rows that are still lists are padded on this side; None: on the tokenizer's.
    padding_side: ClassVar[Literal["left", "right"] | None] = None
    # Labels are token sequences, which may have lengths of their own.
    token_labels: ClassVar[bool] = False
    max_length: int | None = Field(default=None, ge=1, lt=2**31)
    pads: Literal["left", "right"] | None = None

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> Likelihood:
        """Fill in what depends on the network, its tokenizer and the training rows; checks that they fit together."""
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """What somebody called the classes, in the order of the network's outputs; none where nobody did."""
        return ()

    def check_outputs(self, outputs: int) -> None:
        """Check that these settings can be those of a network with so many outputs, along the last axis.

        Raises:
            ConfigError: they can't.
        """

    def with_class_weight(self, class_weight: Any) -> Likelihood:
        """Return this likelihood with rows weighed by their class in the objective.

        Raises:
            ConfigError: an example has no one class.
        """
        raise ConfigError(
            f"class_weight weighs rows by their class, and likelihood '{self.kind}' has not one class for each row: leave it "
            "out, or repeat the rows that are to count more."
        )

    def weighing(self: L, examples: Examples, classes: int) -> L:
        """Return this likelihood with what it must know of all training data to weigh rows; `classes` as `check_labels`.

        Raises:
            ConfigError: rows can't be weighed as was asked for.
        """
        return self

    def row_weights(self, labels: Tensor) -> Tensor | None:
        """Return what the log-likelihood of each row is multiplied by in the objective, (n,) float32; None: all count once."""
        return None

    @property
    def objective(self) -> str:
        """What the data term of the objective is in words, where it is not the log-likelihood of all rows; else empty."""
        return ""

    def named(self, names: Sequence[str]) -> Likelihood:
        """Return this likelihood with the data's names of its classes, where nobody else named them."""
        return self

    @abstractmethod
    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
        """Turn raw rows into `input_ids`, `attention_mask`, ... and `labels` where the rows have them.

        Raises:
            DataError: a column is missing or has a value that can't be used.
        """

    @abstractmethod
    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Run the network and return its float32 outputs, no more than needed: logits, or what else `distribution` reads.

        Returns:
            (n, K), or (n, ..., K) where an example has several; those that stand for nothing, such as padding, are 0.
        """

    def among(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return outputs (..., n, K) as `distribution` reads them, where examples differ in what their labels can be.

        Args:
            logits: of the network, which checks of the network look at, as they are.
            batch: the n examples.
        """
        return logits

    @abstractmethod
    def distribution(self, logits: Tensor) -> Distribution:
        """Return the law of the labels, batch shape (n,), given the network's outputs (n, ..., K)."""

    def class_log_probs(self, logits: Tensor) -> Tensor | None:
        """Return log-probabilities (n, K) of the classes of a law of finitely many, given outputs; None of any other law."""
        law = self.distribution(logits)
        return classes_of(law) if law.batch_shape == logits.shape[:1] else None

    def moments(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Run a network whose head gives means and variances side by side; return both, (n, K), of what `logits` returns."""
        mean, variance = self.logits(model, batch).chunk(2, -1)
        return mean, variance

    def expected_log_likelihood(self, mean: Tensor, variance: Tensor, labels: Tensor) -> Tensor:
        """Return E log p(label | output) over independent outputs ~ N(mean, variance), or a lower bound, nats, (n,).

        Raises:
            ConfigError: there is no formula.
        """
        raise ConfigError(
            f"likelihood '{self.kind}' has no formula for its expectation over Gaussian outputs: take a guide that draws."
        )

    def counted(self, batch: Batch) -> Tensor | None:
        """Return which outputs of each example stand for something, (n, ...) bool without the last axis; None: all do."""
        return None

    def labelled(self, batch: Batch) -> Tensor | None:
        """Return which outputs of a labelled batch its labels say something of, shaped as `counted`; None: all."""
        return self.counted(batch)

    def check_labels(self, labels: Tensor, classes: int) -> None:
        """Check that labels (n, ...) are what `distribution` gives a probability to.

        Args:
            labels: as the data has them: int64 or float32.
            classes: K, how many outputs the network has, along the last axis.

        Raises:
            DataError: they are not; the message names the first such row.
        """
        law = self.distribution(torch.zeros(len(labels), classes))
        observed, wanted = self.observed(labels), law.batch_shape + law.event_shape
        if observed.shape != wanted:
            raise DataError(f"labels have the shape {tuple(labels.shape)}, and {self.kind} needs {tuple(wanted)}.")
        support: Any = law.support
        right = support.check(observed.cpu()).reshape(len(labels), -1).all(1)
        if not right.all():
            row = int((~right).nonzero()[0, 0])
            raise DataError(
                f"row {row} has the label {labels[row].tolist()}, which {self.kind} gives no probability to: {support} is "
                "needed."
            )

    def advise(self, labels: Tensor, whole: bool) -> None:
        """Warn of what training labels that are right may still lack; here of nothing.

        Args:
            labels: (n, ...), checked.
            whole: they are those of all training rows, and not of the first batch alone.
        """

    def observed(self, labels: Tensor) -> Tensor:
        """Return checked labels in the shape and dtype of an observation of `distribution`."""
        return labels

    def label_counts(self, labels: Tensor) -> Tensor:
        """Return how many labels each example has that are decided one by one, (n,): their log-probabilities add up."""
        return torch.ones(len(labels))

    def log_likelihood(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return log p(label | output) in nats, (n,) float64, of outputs (n, ..., K) and checked labels; NaN where one is."""
        value = self.observed(labels)
        exact = value.double() if value.is_floating_point() else value
        found: Tensor = self.distribution(logits.double()).log_prob(exact)
        return found

    def curvature_root(self, logits: Tensor, labels: Tensor | None, by_output: Tensor) -> Tensor:
        """Multiply by a root of the curvature of -log p: R^T J, with R R^T the Hessian by the outputs, or its mean over labels.

        Here it is the Fisher information of a law of classes, which is that mean.

        Args:
            logits: (n, ..., K) outputs, where the curvature is taken.
            labels: (n, ...) checked labels, where the data has them.
            by_output: J, (n, ..., K, further axes).

        Returns:
            (n, C, further axes): the outer products of its C columns add up to the Gauss-Newton matrix J^T R R^T J.

        Raises:
            ConfigError: it is not known for this law.
        """
        root = fisher_root(self.distribution, logits, by_output)
        if root is None:
            raise ConfigError(
                f"likelihood '{self.kind}' has a law over no finite number of classes, and does not say its curvature: take a "
                "variational method such as melora, or give the likelihood a `curvature_root`."
            )
        return root

    def curvature(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        """Return the Hessian that `curvature_root` has a root of, (n, K, K), for outputs (n, K); errors as there."""
        columns = torch.eye(logits.shape[-1]).to(logits).expand(len(logits), -1, -1)
        root = self.curvature_root(logits, labels, columns)
        return root.mT @ root

    def average(self, n: int, keep: bool) -> Average:
        """Return what averages draws of the network into a predictive law for n examples, keeping them if `keep`."""
        return LawAverage(n, keep, self.distribution)

    def gaussian_average(self, n: int, keep: bool, normals: Normals) -> GaussianAverage:
        """Return what averages over Gaussian outputs of n examples; here over draws of them.

        Args:
            n: examples.
            keep: keep draws of the outputs, where any are drawn.
            normals: to draw outputs with, where there is no closed form.
        """
        return DrawnGaussianAverage(self.average(n, keep), normals)

    def prediction_type(self, classes: int) -> type[Prediction]:
        """Return what `average` makes where the network has so many outputs, along the last axis."""
        return prediction_type(self.distribution(torch.zeros(1, classes)))
