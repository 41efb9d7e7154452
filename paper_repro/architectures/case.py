"""What comes of one class of transformers: built, fitted for a step, predicted with; or why not."""

from __future__ import annotations

import re
import warnings
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import BayesPeftError
from paper_repro.architectures.inputs import ROWS, data_for
from paper_repro.architectures.tiny import build, tiny

# The auto class of each task, and the likelihood of its outputs.
TASKS = {
    "sequence": ("SEQUENCE_CLASSIFICATION", "sequence_classification"),
    "causal": ("CAUSAL_LM", "language_modelling"),
    "seq2seq": ("SEQ_TO_SEQ_CAUSAL_LM", "language_modelling"),
    "image": ("IMAGE_CLASSIFICATION", "sequence_classification"),
    "audio": ("AUDIO_CLASSIFICATION", "sequence_classification"),
}
TARGETS = ("auto", "all-linear")
METHOD = "melora"
# Some networks have attention in every fourth or eighth layer only.
LAYERS = (2, 4, 8)


def classes_of(task: str) -> dict[str, str]:
    """Return the classes of a task, each with the first `model_type` that it serves."""
    found: dict[str, str] = {}
    for kind, names in getattr(modeling_auto, f"MODEL_FOR_{TASKS[task][0]}_MAPPING_NAMES").items():
        for name in names if isinstance(names, tuple) else (names,):
            found.setdefault(name, kind)
    return found


def outcome(task: str, name: str, kind: str, targets: str) -> dict[str, Any]:
    """Return what comes of a class: `outcome` is "ok", "refused", "failed" or "not built"; else `reason` says why.

    "ok": a step of training with a draw for each example, and a prediction of two draws in one pass, of finite numbers.
    "refused": an error of ours. "failed": another error. "not built": the shrunk configuration makes no network, or one that
    fails on its inputs by itself.
    """
    try:
        model = built(task, name, kind)
    except Exception as error:  # whatever another library raises
        return {"outcome": "not built", "reason": _said(error)}
    try:
        posterior = bayespeft.fit(
            model,
            data_for(task, model),
            METHOD,
            likelihood=TASKS[task][1],
            targets=targets,
            train=TrainConfig(steps=1, batch_size=ROWS),
            progress=False,
        )
        found = posterior.predict(data_for(task, model), draws=2, draws_per_pass=2)
        layers = sum(not placement.head for placement in posterior.placements)
        if found.log_likelihood is None or not bool(torch.isfinite(found.log_likelihood).all()):
            return {"outcome": "failed", "reason": "log-probabilities that are not finite"}
        return {"outcome": "ok", "layers": layers}
    except BayesPeftError as error:
        return {"outcome": "refused", "reason": _said(error)}
    except Exception as error:
        return {"outcome": "failed", "reason": _said(error)}


def built(task: str, name: str, kind: str) -> torch.nn.Module:
    """Return a tiny network of a class that runs on data of its task; with more layers where two are too few for it."""
    cls: Any = getattr(transformers, name)
    first: Exception | None = None
    for layers in LAYERS:
        try:
            model = build(cls, tiny(kind, cls, layers))
            _run(task, model)
        except Exception as error:
            first = first or error
        else:
            return model
    assert first is not None
    raise first


def _run(task: str, model: torch.nn.Module) -> None:
    """Run a network on data of its task, by itself."""
    rows = data_for(task, model)
    batches: Any = (
        [{key: torch.tensor([row[key] for row in rows]) for key in rows[0]}] if isinstance(rows, list) else rows
    )
    inputs = next(iter(batches))
    if task != "seq2seq":
        inputs.pop("labels")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(**inputs)


def _said(error: Exception) -> str:
    """Return the first sentence of what an error says, without brackets, after its class if it is none of ours."""
    text = re.sub(r"\s+", " ", re.sub(r"\s*\([^()]*\)", "", str(error))).strip()
    first = re.split(r"(?<=[a-z0-9'\"])[.;] ", text)[0].removesuffix(".")[:240]
    return first if isinstance(error, BayesPeftError) else f"{type(error).__name__}: {first}"
