"""A language model that was fitted to write, once, and is kept where that is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bayespeft
from bayespeft import Method, Posterior, TrainConfig
from bayespeft.pretrained.load import load as load_model
from paper_repro.posteriors.common import Rows


def fitted(
    args: argparse.Namespace,
    rows: Rows,
    method: Method | str,
    key: Mapping[str, Any],
    settings: TrainConfig,
    **more: Any,
) -> Posterior:
    """Fit a method to texts, or read the posterior that was kept.

    Args:
        args: with model, device and keep: the folder of posteriors, or None.
        rows: with source and target.
        method: or its name.
        key: what tells this fit from others in the results file, its seed among it; it names the folder.
        settings: of the training, over the method's own.
        more: arguments of `fit`.
    """
    # A fresh network each, so that no method meets what another left.
    model, tokenizer = load_model(args.model, "causal")
    place = args.keep and args.keep / "-".join(f"{name}={Path(str(value)).name}" for name, value in key.items())
    if place and place.is_dir():
        return bayespeft.load(place, model, tokenizer=tokenizer)
    posterior = bayespeft.fit(
        model,
        rows,
        method,
        likelihood="language_modelling",
        tokenizer=tokenizer,
        train=settings,
        seed=key["seed"],
        device=args.device,
        progress=False,
        **more,
    )
    if place:
        posterior.save(place)
    return posterior
