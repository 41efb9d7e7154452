"""The network that a user hands over: taken out of wrappers that compute the same, refused where adapters can't follow.

Adapters are hooks on the modules of one process that run one by one. What runs them otherwise (a compiled graph, shards,
weights that are elsewhere, adapters of another library inside) is either switched off for the time, which is exact, or
refused with what to do about it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bayespeft import registry
from bayespeft.errors import AttachError, ConfigError
from bayespeft.utils.sharded import is_sharded

# These wrappers call the module that they hold, on other devices or as a graph, and return what it returns.
_INNER = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
}
_DISTRIBUTED = "torch.nn.parallel.distributed.DistributedDataParallel"


def bare(model: Any, sharded: bool = False) -> nn.Module:
    """Return the network itself: what `torch.compile`, `DataParallel` or `DistributedDataParallel` wraps, or as it is.

    A `DistributedDataParallel` is unwrapped in a group of one process only: in several, each would fit a posterior of its
    own to its own share of the data.

    Args:
        model: what was handed over.
        sharded: whether parameters may be shards (FSDP2's): what is done next is done by all processes alike.

    Raises:
        ConfigError: it is no network. AttachError: adapters can't act on it; the message says what to hand over instead.
    """
    while (wrapper := _wrapper(model)) is not None:
        if wrapper == _DISTRIBUTED and model.process_group.size() > 1:
            raise AttachError(
                f"the network is a DistributedDataParallel over {model.process_group.size()} processes, each of which would "
                "fit a posterior of its own. To train in all of them, take bayespeft.adapt on the network's .module and wrap "
                "adaptation.module in DistributedDataParallel; or fit in one process, with all of the data."
            )
        model = getattr(model, _INNER[wrapper])
    if not isinstance(model, nn.Module):
        raise ConfigError(_no_network(model))
    if next(model.parameters(), None) is None:
        raise ConfigError(
            f"model={type(model).__name__} has no parameters, so there is nothing to adapt: pass a network."
        )
    _check_foreign(model)
    _check_weights(model, sharded)
    return model


def _wrapper(model: Any) -> str | None:
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(model).__mro__)
    return next((name for name in names if name in _INNER), None)


def _no_network(model: Any) -> str:
    if isinstance(model, str) and model in registry.names("pretrained"):
        return (
            f"model={model!r} is a name: pass the network itself, with its tokenizer: model, tokenizer = "
            f'bayespeft.pretrained.load.load({model!r}, "classification", 2), for two classes.'
        )
    if isinstance(model, str):
        return (
            f"model={model!r} is a name: pass the network itself, such as AutoModelForSequenceClassification."
            f"from_pretrained({model!r}, num_labels=2), or AutoModelForCausalLM.from_pretrained({model!r})."
        )
    if isinstance(model, type):
        return f"model= is the class {model.__name__}: pass a network of that class."
    inner = getattr(model, "module", None) or getattr(model, "model", None)
    hint = f" It holds one as {'.module' if inner is getattr(model, 'module', None) else '.model'}: pass that."
    return (
        f"model={type(model).__name__} is no torch.nn.Module: pass a network, such as one of transformers' or a module that "
        f"maps a tensor to logits.{hint if isinstance(inner, nn.Module) else ''}"
    )


def _check_foreign(model: nn.Module) -> None:
    """Refuse adapters of peft inside the network, parameters that are shards, and networks that take no hooks."""
    if isinstance(model, torch.jit.ScriptModule):
        raise AttachError(
            "the network was compiled by TorchScript (torch.jit.script, torch.jit.trace), whose modules take no adapters: pass "
            "the module that it was made of."
        )
    for name, module in model.named_modules():
        where = f"layer '{name}'" if name else "it"
        if type(module).__module__.startswith("peft."):
            raise AttachError(
                f"the network carries adapters of peft already ({where} is a {type(module).__name__}), which would be taken "
                "for its layers. Make them part of the weights with model.merge_and_unload(), or leave them out with "
                "model.unload(); to build on this LoRA, read it onto the base, loaded once more, with "
                "bayespeft.import_lora(model, base), and pass start=."
            )
        if "FullyShardedDataParallel" in type(module).__name__:
            raise AttachError(
                f"the network is sharded over processes ({where} is a {type(module).__name__}): fit in one process, on the "
                "network as it was before it was sharded."
            )


def _check_weights(model: nn.Module, sharded: bool) -> None:
    """Refuse weights that are not there: offloaded, sharded, compressed, or not yet made."""
    for name, module in model.named_modules():
        if getattr(getattr(module, "quantization_status", None), "value", None) == "compressed":
            raise AttachError(
                f"layer '{name}' has compressed weights, which the first pass turns into others (compressed-tensors): run the "
                "network once, on any input, or load it with CompressedTensorsConfig(dequantize=True)."
            )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)):
            raise AttachError(f"'{name}' has no shape yet: run the network once, so that its lazy layers are made.")
        if tensor.is_meta:
            raise AttachError(
                f"'{name}' is on the meta device: its values are offloaded to memory or disk, or were never loaded. Load the "
                "network without offloading (no device_map that says 'cpu' or 'disk' beside a GPU, no cpu_offload); where it "
                "does not fit, load it quantised (BitsAndBytesConfig), or take a smaller one."
            )
        if is_sharded(tensor) and not sharded:
            raise AttachError(
                f"'{name}' is a DTensor, sharded over processes, each of which would go its own way. Take bayespeft.adapt, in "
                "all of them, and wrap adaptation.module in DistributedDataParallel; or fit in one process, on a whole network."
            )


_lock = threading.Lock()
_eager: list[Any] = []


@contextmanager
def eager() -> Iterator[None]:
    """Run compiled networks, and compiled parts of one, module by module inside the `with` block.

    A compiled graph may have been made without hooks, and does not look for new ones: it would compute the base. The
    switch is one for the whole process, so blocks of several threads share it.
    """
    with _lock:
        if not _eager:
            stance = torch.compiler.set_stance("force_eager")
            stance.__enter__()
            _eager.append(stance)
        else:
            _eager.append(None)
    try:
        yield
    finally:
        with _lock:
            if len(_eager) == 1:
                _eager[0].__exit__(None, None, None)
            _eager.pop()
