"""Multi-label classification: the network's own output is one logit for each label, which is right or wrong by itself.

p(y | x) = prod over labels k of Bernoulli(y_k; sigmoid(f_k(x))). For `AutoModelForSequenceClassification` networks, which
choose it by `problem_type="multi_label_classification"`, and for plain modules that map a tensor to logits (n, K).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, SupportsIndex

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.data.columns import Row, label_of
from bayespeft.errors import ConfigError, DataError
from bayespeft.likelihoods.named_classes import NamedClasses, number_of
from bayespeft.networks.configuration import setting
from bayespeft.predictive.multi_label import MultiLabelAverage, MultiLabelPredictive

Form = Literal["vectors", "lists"]


class MultiLabel(NamedClasses):
    """Independent Bernoullis around the network's K logits; labels are (n, K) of zeros and ones.

    Attributes:
        label_names: names of the labels; filled from the network's `id2label`, else from the data: its own names, or, where
            labels are strings, these in sorted order.
        form: how rows say their labels: "vectors" of K zeros and ones, or "lists" of names or numbers of those that are on;
            filled from the training rows.
    """

    outputs: ClassVar[str] = "logits of shape (examples, labels)"
    columns: ClassVar[str] = "text, [text_pair], label (a list of names or numbers, or one 0 or 1 for each label)"
    several: ClassVar[bool] = True
    tempers: ClassVar[bool] = True
    form: Form | None = None
    classes: int | None = None

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> MultiLabel:
        """Take names and number of labels and the length limit from the network; see how rows say their labels."""
        names, by_labels = self.names_of(model, rows)
        count = self.classes or setting(model, "num_labels") or len(names) or None
        found = super().resolve(model, tokenizer, rows).replace(label_names=names, named_by_labels=by_labels)
        found = found.replace(classes=count)
        if rows is None or self.form is not None:
            return found
        labels = [label for i, row in enumerate(rows) if (label := label_of(row, i)) is not None]
        return found.replace(form=form_of(labels, count)) if labels else found

    def check_outputs(self, outputs: int) -> None:
        """Check that there are as many labels as outputs, and their names."""
        super().check_outputs(outputs)
        if self.classes not in (None, outputs):
            raise ConfigError(f"classes={self.classes}: the network has {outputs} outputs, one for each label.")

    def label(self, label: Any, row: int) -> list[int]:
        """Return a row's labels as K zeros and ones."""
        if isinstance(label, (str, Real)) or not hasattr(label, "__len__"):
            raise DataError(
                f"row {row}: column 'label' is {label!r:.80}, and {self.kind} reads a list: names or numbers of the "
                "labels that are on (an empty list where none is), or a 0 or 1 for each label."
            )
        values = list(label.tolist() if hasattr(label, "tolist") else label)
        if self.classes is None:
            raise DataError(
                f"{self.kind} must know how many labels there are: load the network with num_labels=, or pass "
                "likelihood=MultiLabel(classes=...)."
            )
        if self._as_vector(values, row):
            return [int(value) for value in values]
        on = [number_of(value, self.label_names, row) if isinstance(value, str) else value for value in values]
        vector = [0] * self.classes
        for number in on:
            if not isinstance(number, SupportsIndex) or not 0 <= (place := operator.index(number)) < self.classes:
                larger = isinstance(number, int) and number >= self.classes
                remedy = "load the network with as many outputs as there are labels" if larger else "leave the row out"
                vector_of = f"; if these are a 0 or 1 for each label, {number!r} is neither" * (
                    len(values) == self.classes
                )
                raise DataError(
                    f"row {row}: label {number!r} is none of the network's {self.classes}, which have the numbers 0..."
                    f"{self.classes - 1}{vector_of}: {remedy}."
                )
            if vector[place]:
                raise DataError(
                    f"row {row}: column 'label' is {values!r:.80}, which has {number} twice: list each label once. If "
                    f"these are a 0 or 1 for each label, there must be {self.classes}, as many as the network has outputs."
                )
            vector[place] = 1
        return vector

    def _as_vector(self, values: list[Any], row: int) -> bool:
        """Whether a row says its labels by a 0 or 1 for each; what may be either is read as the training rows are."""
        numbers = [value for value in values if not isinstance(value, str)]
        if _is_vector(values, self.classes):
            return self.form != "lists" or len(set(values)) < len(values)
        if self.form == "vectors" and numbers:
            raise DataError(
                f"row {row}: column 'label' is {values!r:.80}, but the training rows have one 0 or 1 for each of "
                f"{self.classes} labels: write all rows in one way."
            )
        return False

    def distribution(self, logits: Tensor) -> Distribution:
        """Return the law of (n, K) labels, with event shape (K,)."""
        return dist.Bernoulli(logits=logits).to_event(1)  # type: ignore[no-any-return]

    def check_labels(self, labels: Tensor, classes: int) -> None:
        """Check that labels are zeros and ones, one for each output."""
        if labels.dim() != 2 or labels.shape[1] != classes:
            raise DataError(
                f"labels have the shape {tuple(labels.shape)}, but the network has {classes} outputs: {self.kind} needs "
                f"a 0 or 1 for each label, ({len(labels)}, {classes}). For one class an example take "
                "likelihood='sequence_classification'."
            )
        wrong = ((labels != 0) & (labels != 1)).any(1)
        if wrong.any():
            row = int(wrong.nonzero()[0, 0])
            raise DataError(
                f"row {row} has the labels {labels[row].tolist()!s:.80}: each must be 0 or 1. Round shares of "
                "annotators to one of these, or leave the row out."
            )

    def observed(self, labels: Tensor) -> Tensor:
        """Return labels as float32 (n, K)."""
        return labels.float()

    def curvature_root(self, logits: Tensor, labels: Tensor | None, by_output: Tensor) -> Tensor:
        """Return sqrt(p_k (1 - p_k)) J_k for each label k: a root of the Hessian, which is diagonal and knows no labels."""
        scale = (torch.sigmoid(logits) * torch.sigmoid(-logits)).sqrt()
        return scale.reshape(*scale.shape, *[1] * (by_output.dim() - 2)).to(by_output) * by_output

    def curvature(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        """Return diag p (1 - p), (n, K, K)."""
        return torch.diag_embed(torch.sigmoid(logits) * torch.sigmoid(-logits))

    def average(self, n: int, keep: bool) -> MultiLabelAverage:
        """Average the probabilities of each label."""
        return MultiLabelAverage(n, keep)

    def prediction_type(self, classes: int) -> type[MultiLabelPredictive]:
        """Return `MultiLabelPredictive`."""
        return MultiLabelPredictive


def form_of(labels: Sequence[Any], count: int | None = None) -> Form:
    """Return how rows say their labels: as vectors where each is as long as there are labels and holds zeros and ones alone.

    Of two labels or fewer, lists of numbers may look like vectors; they are taken for vectors only if all rows do.

    Raises:
        DataError: they look like vectors for another number of labels.
    """
    lengths = {len(label) for label in labels if hasattr(label, "__len__")}
    if len(lengths) == 1 and all(_is_vector(label, max(lengths)) for label in labels):
        if count in (None, *lengths):
            return "vectors"
        if max(lengths) > 1:
            raise DataError(
                f"each row has {max(lengths)} zeros and ones as its labels, and the network has {count} outputs: load it with "
                f"num_labels={max(lengths)}, or list the names or numbers of the labels that are on."
            )
    return "lists"


def _is_vector(label: Any, count: int | None) -> bool:
    if isinstance(label, str) or not hasattr(label, "__len__") or len(label) != count:
        return False
    values = label.tolist() if hasattr(label, "tolist") else label
    return all(isinstance(value, Real) and value in (0, 1) for value in values)


LIKELIHOOD = MultiLabel
