"""`load`: a network and its tokenizer by name, quietly, with a reproducible head."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from bayespeft import registry
from bayespeft.errors import ConfigError, UnknownNameError
from bayespeft.pretrained.base import Pretrained, quiet
from bayespeft.utils.threads import alone

TaskKind = Literal["classification", "multi_label", "tokens", "causal"]
# What a network of each kind is for.
LIKELIHOODS: dict[TaskKind, str] = {
    "classification": "sequence_classification",
    "multi_label": "multi_label",
    "tokens": "token_classification",
    "causal": "label_tokens",
}

# Arguments that say where the files are, and so belong to the tokenizer, too.
_SHARED = ("revision", "token", "cache_dir", "local_files_only", "subfolder", "trust_remote_code")


def load(
    name: str, task: TaskKind, num_labels: int | None = None, *, seed: int = 0, **kwargs: Any
) -> tuple[torch.nn.Module, Any]:
    """Load a pretrained network and its tokenizer.

    A tokenizer without a padding token gets its end token as one, and the network's configuration the same number.

    Args:
        name: a registered name (`bayespeft.registry.names("pretrained")`), a local folder, or a name on the hub.
        task: "classification" (a head of `num_labels` outputs over the network), "multi_label" (the same, where several labels
            may be right at once), "tokens" (a head over each token) or "causal" (a language model).
        num_labels: of the head, which is a fresh one where the checkpoint's has another number; None for what the checkpoint
            says (2 if it has no head). Not for language models.
        seed: of a fresh head's initial values. The global random state is left as it was.
        kwargs: for `from_pretrained` of the network, such as dtype, quantization_config or revision.

    Returns:
        The network in eval mode, as `from_pretrained` returns it, and the tokenizer.

    Raises:
        ConfigError: the task is unknown, or does not go with the network or with `num_labels`; the checkpoint lacks
            weights of the network, other than those of the head.
        UnknownNameError: there is no such network.
        MissingPackageError: the package that carries it is not installed.
    """
    if task not in get_args(TaskKind):
        raise ConfigError(f"task is {task!r}, expected {' or '.join(map(repr, get_args(TaskKind)))}.")
    if num_labels is not None and task == "causal":
        raise ConfigError(f"num_labels={num_labels} is for a classifier: a language model has no such head.")
    if num_labels is not None and num_labels < 1:
        raise ConfigError(f"num_labels is {num_labels}; at least 1 is needed.")
    import transformers  # slow to import

    path, problem = _locate(name, task)
    # A checkpoint whose head has another number of classes gets a fresh one.
    head: dict[str, Any] = {} if num_labels is None else {"num_labels": num_labels, "ignore_mismatched_sizes": True}
    if task == "multi_label":
        head["problem_type"] = "multi_label_classification"
    models = {
        "classification": transformers.AutoModelForSequenceClassification,
        "multi_label": transformers.AutoModelForSequenceClassification,
        "tokens": transformers.AutoModelForTokenClassification,
        "causal": transformers.AutoModelForCausalLM,
    }
    with quiet():
        try:
            where = {key: kwargs[key] for key in _SHARED if key in kwargs}
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, **where)
        except (OSError, ValueError, ImportError) as error:
            raise UnknownNameError(f"{problem or f'no tokenizer in {path!r}.'} transformers says: {error}") from error
        try:
            with _seeded(seed, kwargs):
                model, info = models[task].from_pretrained(path, output_loading_info=True, **{**head, **kwargs})
        except OSError as error:
            raise UnknownNameError(f"{problem or f'no network in {path!r}.'} transformers says: {error}") from error
    mismatched = (key if isinstance(key, str) else key[0] for key in info["mismatched_keys"])
    _check_complete(name, task, model.base_model_prefix, {*info["missing_keys"], *mismatched})
    _set_padding(model, tokenizer)
    return model, tokenizer


def _locate(name: str, task: TaskKind) -> tuple[str, str]:
    """Return what to give to `from_pretrained`, and what to say if it does not find it."""
    try:
        pretrained: Pretrained = registry.get("pretrained", name)
    except UnknownNameError as error:
        folder = Path(name).expanduser()
        if os.path.isdir(folder):  # unlike `Path.is_dir` it takes names that no folder can have
            return str(folder), ""
        return name, f"{error} Nor is {name!r} a folder, or a name on the hub."
    if task == "causal" and pretrained.architecture != "causal":
        raise ConfigError(f"{name!r} is an encoder: it can't be loaded with task='causal'. Use task='classification'.")
    return pretrained.path(), ""


@contextmanager
def _seeded(seed: int, kwargs: dict[str, Any]) -> Iterator[None]:
    """Seed torch's random numbers, and put them back afterwards.

    GPUs are touched only if the network goes there: else seeding would start CUDA, or change its seed, for nothing.
    """
    elsewhere = kwargs.get("device_map") is not None or torch.get_default_device().type != "cpu"
    devices = range(torch.cuda.device_count()) if elsewhere and torch.cuda.is_available() else ()
    with alone(), torch.random.fork_rng(devices):
        if devices:
            torch.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        yield


def _check_complete(name: str, task: TaskKind, prefix: str, missing: Any) -> None:
    """Refuse a checkpoint of another kind of network, of which weights would silently stay random.

    A classifier's head is missing from any base checkpoint, and so is the pooling layer from many.
    """
    lost = sorted(key for key in missing if task == "causal" or (key.startswith(f"{prefix}.") and "pooler" not in key))
    if lost:
        raise ConfigError(
            f"{name!r} has no values for {len(lost)} weights of the network, such as {lost[0]!r}: it is a checkpoint "
            f"of another kind of network, and can't be loaded with task={task!r}."
        )


def _set_padding(model: Any, tokenizer: Any) -> None:
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        return
    # Decoder classifiers find the last token by this number, so it has to be the one that the batches are padded with.
    model.config.pad_token_id = tokenizer.pad_token_id
    generation = getattr(model, "generation_config", None)
    if generation is not None and generation.pad_token_id is None:
        generation.pad_token_id = tokenizer.pad_token_id
