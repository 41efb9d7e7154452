"""`from_pretrained`: a saved posterior, of a directory or of the hub, with the network that it was fitted on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from torch import nn

from bayespeft.errors import CheckpointError, UnknownNameError
from bayespeft.fitting.load import load
from bayespeft.io import checkpoint
from bayespeft.io.saved import Saved
from bayespeft.likelihoods.language_modelling import LanguageModelling
from bayespeft.posterior.posterior import Posterior
from bayespeft.pretrained.load import LIKELIHOODS, TaskKind
from bayespeft.pretrained.load import load as load_network
from bayespeft.utils.annotations import ELSEWHERE, Reader
from bayespeft.utils.checks import checked
from bayespeft.utils.device import find_device


@checked
def from_pretrained(
    name: str | os.PathLike[str],
    model: Annotated[str | nn.Module | None, ELSEWHERE] = None,
    *,
    tokenizer: Reader = None,
    device: str = "auto",
    revision: str | None = None,
    token: str | None = None,
) -> Posterior:
    """Return a posterior that `Posterior.save` or `Posterior.push_to_hub` wrote.

    Args:
        name: a directory, or "owner/name" on the hub.
        model: the network that it was fitted on, or its name; None for the one that the posterior itself names.
        tokenizer: for data that is still text; None: that of the network, where it is loaded by name.
        device: where to put a network that is loaded by name.
        revision: of the hub: a branch, a tag or a commit.
        token: of the hub; None for the one that is stored on this machine.

    Raises:
        CheckpointError: the posterior can't be read or fetched, or its network can't be found, or is another one.
        ConfigError, UnknownNameError: as `bayespeft.pretrained.load.load`.
    """
    from bayespeft.io.hub import fetch  # what speaks to the hub is slow to import

    directory = Path(name) if Path(name).is_dir() else fetch(os.fspath(name), revision, token)
    if model is not None and not isinstance(model, str):
        return load(directory, model, tokenizer=tokenizer)
    _, settings = checkpoint.read(directory)
    saved = Saved.of(settings, directory)
    writes = isinstance(saved.likelihood, LanguageModelling)
    if getattr(saved.likelihood, "encoder_decoder", False):
        raise CheckpointError(
            f"the posterior in '{directory}' is over an encoder and decoder, which is not loaded by name: pass the network, "
            "model=AutoModelForSeq2SeqLM.from_pretrained(...)."
        )
    usual: TaskKind = "causal" if writes else "classification"
    kind: TaskKind = next((kind for kind, name in LIKELIHOODS.items() if name == saved.likelihood.kind), usual)
    labels = None if kind == "causal" else saved.classes
    try:
        network, own = load_network(saved.base.name if model is None else model, kind, labels)
    except UnknownNameError as error:
        if model is not None:
            raise
        raise CheckpointError(
            f"the posterior in '{directory}' was fitted on {saved.base.name!r}, which is not found here: name the network, too "
            f"(model=; bayespeft report {directory} MODEL DATA). {error}"
        ) from error
    return load(directory, network.to(find_device(device)), tokenizer=tokenizer or own)
