"""What the objective of an own loop is made of, so that a state of another one is told from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bayespeft.errors import CheckpointError
from bayespeft.methods.base import Method
from bayespeft.training.problem import Problem

# Settings of a method that say what is learned; how long and at which rates may change from one part of a run to the next.
PARTS = ("adapter", "guide", "latent_prior", "point_prior", "head_prior")


def objective_of(problem: Problem, method: Method) -> dict[str, str]:
    """Return what the loss is made of, by name: the data's size and likelihood, the method's parts, the weight of the KL."""
    likelihood, train = problem.likelihood, problem.train
    settings = method.model_dump(mode="json")
    return {
        "data_size": str(len(problem.examples)),
        "likelihood": ": ".join(filter(None, (likelihood.kind, likelihood.objective))),
        **{part: json.dumps(settings.get(part), sort_keys=True) for part in PARTS},
        "kl_weight": f"{train.kl_weight}, {train.kl_schedule}",
    }


def check_alike(saved: Any, own: Mapping[str, str]) -> None:
    """Check that a state is one of the same objective.

    Raises:
        CheckpointError: it is of another one; the message says what is not the same.
    """
    if not isinstance(saved, Mapping) or saved.keys() != own.keys():
        raise CheckpointError("the state does not say what it was trained for: take one that state_dict() returned.")
    for name, value in own.items():
        if saved[name] != value:
            raise CheckpointError(
                f"the state was trained with {name} {saved[name]}, and this adaptation has {value}: adapt as then, or begin "
                "anew without the state."
            )
