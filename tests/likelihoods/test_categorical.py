"""Likelihoods of one class of several: their curvature is that of the softmax."""

from __future__ import annotations

import warnings

import pytest
import torch

import bayespeft
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.predictive.law import fisher_root
from tests.predictive.laws import Plain, Thirds


def test_the_fisher_information_of_classes_is_the_hessian_of_the_softmax():
    generator = torch.Generator().manual_seed(0)
    logits, j = (torch.randn(4, 3, *more, generator=generator, dtype=torch.double) for more in ((), (2, 5)))
    root = fisher_root(Thirds().distribution, logits, j).flatten(2)
    p = logits.softmax(-1)
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    j = j.flatten(2)
    torch.testing.assert_close(root.mT @ root, j.mT @ hessian @ j)
    known = type("Known", (Plain, Categorical), {})().curvature_root(logits, None, j)
    torch.testing.assert_close(root.mT @ root, known.mT @ known)


def test_training_rows_of_one_class_are_told_of(bert, tokenizer, sentences):
    options = {"tokenizer": tokenizer, "train": bayespeft.TrainConfig(steps=1, batch_size=8), "progress": False}
    one = [row for row in sentences if row["label"] == 1]
    with pytest.warns(UserWarning, match=r"all 12 training rows are of one class, LABEL_1, so that nothing is learned"):
        bayespeft.fit(bert, one, **options)
    loader = [{"input_ids": torch.tensor([2, 5 + i % 4, 3]), "labels": int(i > 7)} for i in range(12)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bayespeft.fit(bert, one[:1], **options)
        # Of a loader only the first batch is known beforehand, which may well be of one class.
        bayespeft.fit(bert, torch.utils.data.DataLoader(loader, batch_size=4), **options)
