"""What an own loop gives, rows or batches in any accepted form, as the network takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.data.layout import Columns
from bayespeft.data.loader import batch_of
from bayespeft.data.sample import OneBatch
from bayespeft.data.source import Source, source_of
from bayespeft.likelihoods.inputs import as_examples, takes_of
from bayespeft.prediction.uneven import settled_for
from bayespeft.training.problem import Problem


class Read(dict[str, Any]):
    """A batch of tensors that was read from rows: its labels number classes as the network does, whatever the data do."""


class Reader:
    """Reads batches and data for a problem.

    Args:
        problem: its network and likelihood say what a row is.
        tokenizer: reads texts; None where there are none.
        columns: our names of columns -> those of the training data.
        class_names: what the training data calls its classes, in the order of its numbers; none where it says nothing.
    """

    def __init__(self, problem: Problem, tokenizer: Any, columns: Columns, class_names: tuple[str, ...]) -> None:
        self._problem, self._tokenizer = problem, tokenizer
        self._columns, self._class_names = columns, class_names
        self._takes = takes_of(problem.model, problem.likelihood)

    def batch(self, given: Any) -> Batch:
        """Return one batch: of a dict of tensors, a pair (x, y), or rows.

        Raises:
            DataError: it can't be used.
        """
        if isinstance(given, Batch):
            return given
        problem = self._problem
        if isinstance(given, Sequence) and not isinstance(given, str) and given and isinstance(given[0], Mapping):
            source = source_of(given, remembered=self._columns)
            if not source.class_names:  # rows of a batch no longer say what their data set does
                source = replace(source, class_names=self._class_names)
            examples = as_examples(source, problem.likelihood, self._tokenizer, problem.model)
            read = next(iter(examples.batches(len(examples))))
            return read.rows(read.index.argsort())
        read = self._takes.fit(batch_of(given))
        if read.labels is not None and not isinstance(given, Read):
            Source(ready=OneBatch(read), class_names=self._class_names).numbered_as(problem.likelihood.class_names)
        return read

    def examples(self, data: Any) -> Examples:
        """Return what is predicted: the examples of one batch, or of data in any form that `fit` takes.

        Raises:
            DataError: it can't be used.
        """
        if isinstance(data, (Batch, Mapping)):
            read = self.batch(data)
            return OneBatch(replace(read, index=torch.arange(len(read))))
        problem = self._problem
        source = source_of(data, remembered=self._columns)
        examples = as_examples(source, problem.likelihood, self._tokenizer, problem.model)
        return settled_for(problem.model, problem.likelihood, examples, problem.device)
