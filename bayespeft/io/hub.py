"""Posteriors on the hub: a repository of a model with the two files of a posterior, and a card that its report fills."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from huggingface_hub import EvalResult, HfApi, ModelCardData, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from bayespeft.errors import CheckpointError
from bayespeft.report.base import Report

# The hub has these names for what likelihoods do.
_TASKS = {
    "sequence_classification": "text-classification",
    "multi_label": "text-classification",
    "token_classification": "token-classification",
    "label_tokens": "multiple-choice",
    "language_modelling": "text-generation",
}


class Savable(Protocol):
    """A posterior, as far as it is known here."""

    def save(self, directory: Path) -> None:
        """Write it into a directory that is not there yet."""


def push(
    repo_id: str,
    posterior: Savable,
    card: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Upload a posterior and its card, in one commit; return the commit's address.

    Args:
        repo_id: "owner/name", which is made if it is not there.
        posterior: what is uploaded.
        card: the card's text.
        private: whether a new repository is; None: as the owner's are.
        token: of the hub.
        revision: the branch.

    Raises:
        CheckpointError: the hub refuses, or can't be reached.
    """
    api = HfApi(token=token)
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise CheckpointError(f"'{repo_id}' can't be pushed to the hub: {error}") from error
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "posterior"
        posterior.save(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo_id, folder_path=folder, revision=revision, commit_message="A posterior of bayespeft"
            )
        except (
            Exception
        ) as error:  # what can't reach the hub raises its transport's errors: requests', httpx's, by version
            raise CheckpointError(f"'{repo_id}' can't be pushed to the hub: {error}") from error
    return str(done.commit_url)


def fetch(repo_id: str, revision: str | None, token: str | None) -> Path:
    """Return the directory that a posterior of the hub is in here, fetched if need be.

    Raises:
        CheckpointError: there is no such repository, or it can't be reached.
    """
    try:
        patterns = ["*.json", "*.safetensors"]
        return Path(snapshot_download(repo_id, revision=revision, token=token, allow_patterns=patterns))
    except Exception as error:  # transports raise their own errors here, too
        raise CheckpointError(
            f"'{repo_id}' is neither a directory here nor a repository that can be fetched from the hub: {error}"
        ) from error


def model_card(repo_id: str, base: str, facts: Mapping[str, str], likelihood: str, report: Report | None) -> str:
    """Return a model card: metadata that the hub reads, how to load the posterior, and the report.

    Rows of the data that the report quotes are left out.

    Args:
        repo_id: where it will be.
        base: the network's name.
        facts: what there is to say of the posterior, by title.
        likelihood: its kind.
        report: on held-out data; its metrics go into the metadata.
    """
    name, task = repo_id.rpartition("/")[2], _TASKS.get(likelihood)
    results = []
    if report is not None:
        place = {"dataset_type": "unknown", "dataset_name": report.name or "held-out data"}
        for metric, value in _metrics(report).items():
            results.append(EvalResult(task_type=task or "other", metric_type=metric, metric_value=value, **place))
    data = ModelCardData(
        # A folder of this machine names no network that others could find.
        base_model=None if os.path.isabs(base) or os.path.exists(base) else base,
        library_name="bayespeft",
        pipeline_tag=task,
        tags=["bayesian", "uncertainty", "calibration", "lora"],
        model_name=name,
        eval_results=results or None,
    )
    lines = "\n".join(f"| {title} | {value} |" for title, value in facts.items())
    home = "https://github.com/bayespeft/bayespeft"
    code = f'import bayespeft\n\nposterior = bayespeft.from_pretrained("{repo_id}")\nposterior.predict(rows, draws=10)'
    parts = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {name}\n",
        f"A posterior over adapters of `{base}`, by [bayespeft]({home}): probabilities are averaged over draws of what was "
        "learned.\n",
        f"```python\n{code}\n```\n",
        f"| | |\n|---|---|\n{lines}\n",
    ]
    if report is not None:
        parts += ["## Report\n", f"```\n{report}\n```\n"]
    return "\n".join(parts)


def _metrics(report: Report) -> dict[str, float]:
    """Return those figures of a report that have an interval: its metrics."""
    plain = report.to_dict()
    found = {
        name: part["value"]
        for name, part in plain.items()
        if isinstance(part, dict) and {"value", "low"} <= part.keys()
    }
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}
