"""What an own loop gives, rows or batches in any accepted form, as the network takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.data.loader import batch_of
from bayespeft.data.sample import OneBatch
from bayespeft.data.source import source_of
from bayespeft.likelihoods.inputs import as_examples, takes_of
from bayespeft.prediction.uneven import settled_for
from bayespeft.training.problem import Problem


class Reader:
    """Reads batches and data for a problem.

    Args:
        problem: its network and likelihood say what a row is.
        tokenizer: reads texts; None where there are none.
    """

    def __init__(self, problem: Problem, tokenizer: Any) -> None:
        self._problem, self._tokenizer = problem, tokenizer
        self._takes = takes_of(problem.model, problem.likelihood)

    def batch(self, given: Any) -> Batch:
        """Return one batch: of a dict of tensors, a pair (x, y), or rows.

        Raises:
            DataError: it can't be used.
        """
        if isinstance(given, Batch):
            return given
        if isinstance(given, Sequence) and not isinstance(given, str) and given and isinstance(given[0], Mapping):
            problem = self._problem
            examples = as_examples(source_of(given, "train"), problem.likelihood, self._tokenizer, problem.model)
            return next(iter(examples.batches(len(examples))))
        return self._takes.fit(batch_of(given))

    def examples(self, data: Any) -> Examples:
        """Return what is predicted: the examples of one batch, or of data in any form that `fit` takes.

        Raises:
            DataError: it can't be used.
        """
        if isinstance(data, (Batch, Mapping)):
            read = self.batch(data)
            return OneBatch(replace(read, index=torch.arange(len(read))))
        problem = self._problem
        examples = as_examples(source_of(data), problem.likelihood, self._tokenizer, problem.model)
        return settled_for(problem.model, problem.likelihood, examples, problem.device)
