"""`import_lora`: a LoRA that peft trained, as a posterior that is one point."""

from __future__ import annotations

import os
from collections import Counter
from typing import Annotated, Any

import torch
from torch import nn

from bayespeft import registry
from bayespeft.adapters.attach import Placement
from bayespeft.adapters.base import Adapter
from bayespeft.adapters.full import Full
from bayespeft.adapters.lora import Lora
from bayespeft.errors import ConfigError
from bayespeft.fitting.assemble import choose_likelihood
from bayespeft.fitting.stacking import make_stacks
from bayespeft.io.peft import read_lora
from bayespeft.io.peft_live import is_live
from bayespeft.layers.heads import find_head
from bayespeft.layers.layer import all_layers
from bayespeft.layers.network import bare
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.methods.base import Method
from bayespeft.networks.configuration import setting
from bayespeft.posterior.posterior import Posterior
from bayespeft.training.history import History
from bayespeft.utils.annotations import ELSEWHERE, Count, Network, Tokenizer
from bayespeft.utils.checks import checked
from bayespeft.utils.threads import alone
from bayespeft.variational.joint_guide import JointGuide


@checked
@alone()
def import_lora(
    lora: Annotated[Any, ELSEWHERE],
    model: Network,
    *,
    tokenizer: Tokenizer = None,
    likelihood: str | Likelihood | None = None,
    classes: Count | None = None,
) -> Posterior:
    """Read a LoRA that `peft` trained, as a posterior of method "mle": it predicts, reports and saves like any other.

    What `export_peft` wrote is checked against its digest. peft writes none: what is finite, and of shapes that fit, is taken
    as it is, so compare `summary()` with what you trained. It tells the SHA-256 of both files as they were read, as `imported`
    of the posterior does, and what `save` writes; of a LoRA in memory there are none.

    Layers keep their own rank and scale. The head comes from modules_to_save where the LoRA has one, else from
    the network, which itself is not touched.

    Args:
        lora: a folder with `adapter_config.json` and `adapter_model.safetensors` (peft 0.14 or later), or a `peft.PeftModel`,
            whose active adapter is copied.
        model: the base network that the LoRA was trained on, without it: peft changes the network that it is given, so beside
            a `PeftModel` this is one that was loaded once more.
        tokenizer: for data that is still text.
        likelihood: as in `bayespeft.fit`; a causal language model needs `LabelTokens(labels=(...))` with a tokenizer, or
            `LabelTokens(token_ids=(...))`, since there are no training rows to tell the labels.
        classes: K; by default the number of label tokens, or `num_labels` of the network's configuration.

    Raises:
        CheckpointError: files are missing or damaged, the adapter is more than a LoRA on linear layers, or it belongs to
            another network. ConfigError: the number of classes, or the label tokens, can't be told, `lora` is none, or
            `model` is no network or the one that peft has changed. DataError: labels and tokenizer don't fit together.
    """
    live = is_live(lora)
    if not live and not isinstance(lora, (str, os.PathLike)):
        raise ConfigError(
            f"import_lora reads a folder that peft wrote, or a peft.PeftModel, not a {type(lora).__name__}: write it with "
            "save_pretrained(folder), and pass the folder and the base network."
        )
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model= is a {type(model).__name__}: pass the base network that the LoRA was trained on.")
    if live and not {id(module) for module in lora.modules()}.isdisjoint(map(id, model.modules())):
        raise ConfigError(
            "model= is the network that peft has put the LoRA into: load the base once more, and pass that, so that the "
            "posterior stands on a network without it."
        )
    model = bare(model)
    chosen = choose_likelihood(likelihood, model)
    if isinstance(chosen, LabelTokens) and not (chosen.labels or chosen.token_ids):
        raise ConfigError(
            "likelihood: which tokens are the labels can't be told without training rows; pass likelihood="
            "LabelTokens(labels=('A', 'B', ...)) with tokenizer=, or LabelTokens(token_ids=(...))."
        )
    chosen = chosen.resolve(model, tokenizer, None)
    if classes is None:
        labels = chosen.token_ids if isinstance(chosen, LabelTokens) else ()
        classes = len(labels) or setting(model, "num_labels")
    if classes is None:
        raise ConfigError(f"classes: {type(model).__name__} has no config.num_labels; pass classes=.")
    read = read_lora(lora, model)
    layers = all_layers(model)
    adapters: dict[str, Adapter] = {name: Lora(r=len(pair.A), alpha=pair.alpha) for name, pair in read.pairs.items()}
    common = Counter(adapters.values()).most_common(1)[0][0]
    own = [layer.name for layer in find_head(model)] if chosen.trains_head else []
    heads = {name for name in (*read.whole, *own) if name not in adapters}
    placements = tuple(
        Placement(layer, adapters.get(name) or Full(), head=name in heads)
        for name, layer in layers.items()
        if name in adapters.keys() | heads
    )
    values = {name: {"A": pair.A, "B": pair.B} for name, pair in read.pairs.items()} | read.whole
    method: Method = registry.get("methods", "mle").replace(adapter=common)
    generator = torch.Generator().manual_seed(0)
    # A point guide starts at the initial values, and stays there.
    stacks = [stack.starting_at(values) for stack in make_stacks(placements, method, generator)]
    joint_guide = JointGuide(stacks, method.guide, generator, next(model.parameters()).device)
    return Posterior(
        model, method, placements, joint_guide, chosen, History(), classes, 0, tokenizer, imported=read.files
    )
