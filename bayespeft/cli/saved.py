"""Opens a saved posterior without having its network at hand."""

from __future__ import annotations

from pathlib import Path

from bayespeft.errors import CheckpointError, UnknownNameError
from bayespeft.fitting.load import load
from bayespeft.io import checkpoint
from bayespeft.io.saved import Saved
from bayespeft.posterior.posterior import Posterior
from bayespeft.pretrained.load import Task as Kind
from bayespeft.pretrained.load import load as load_network
from bayespeft.task import LIKELIHOODS
from bayespeft.utils.device import find_device


def open_posterior(directory: Path, model: str | None, device: str) -> Posterior:
    """Load a saved posterior together with the network that it was fitted on.

    Args:
        directory: where it was saved.
        model: name of the network; None for the one that the posterior itself names.
        device: where to put the network.

    Raises:
        CheckpointError: the posterior can't be read, or its network can't be found.
        ConfigError, UnknownNameError: as `bayespeft.pretrained.load.load`.
    """
    _, settings = checkpoint.read(directory)
    saved = Saved.of(settings, directory)
    kind: Kind = next((kind for kind, name in LIKELIHOODS.items() if name == saved.likelihood.kind), "classification")
    labels = None if kind == "causal" else saved.classes
    try:
        network, tokenizer = load_network(model or saved.base.name, kind, labels)
    except UnknownNameError as error:
        if model is not None:
            raise
        raise CheckpointError(
            f"the posterior in '{directory}' was fitted on {saved.base.name!r}, which is not found here: name the network, too "
            f"(bayespeft report {directory} MODEL DATA). {error}"
        ) from error
    return load(directory, network.to(find_device(device)), tokenizer=tokenizer)
