"""What a `Trainer`'s arguments decide: settings of the training, and what of theirs can't be followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bayespeft.config import TrainConfig
from bayespeft.errors import ConfigError

# The trainer's arguments say these, so settings of the training must not: ours -> the trainer's.
THEIRS = {
    "steps": "max_steps",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "accumulate": "gradient_accumulation_steps",
    "clip": "max_grad_norm",
    "warmup": "warmup_steps",
    "lr_schedule": "lr_scheduler_type",
    "precision": "bf16 or fp16",
    "checkpoint_activations": "gradient_checkpointing",
}
# These arguments would change the objective, or need the network in its place: name -> its unset value, and the reason.
REFUSED: dict[str, tuple[Any, str]] = {
    "label_smoothing_factor": (0.0, "smoothed labels have no likelihood: leave it out"),
    "neftune_noise_alpha": (None, "noise on embeddings is no part of the ELBO: leave it out"),
    "use_liger_kernel": (False, "its kernels return a loss in place of outputs: leave it out"),
    "torch_compile": (False, "hooks do not run inside a compiled graph: leave it out"),
    "fp16_full_eval": (False, "what is trained is float32: load the network in half precision instead"),
    "bf16_full_eval": (False, "what is trained is float32: load the network in half precision instead"),
    "auto_find_batch_size": (
        False,
        "a run that begins anew would go on counting steps: set per_device_train_batch_size",
    ),
    "push_to_hub": (False, "what is trained is no network: call trainer.posterior().push_to_hub('owner/name')"),
    "deepspeed": (None, "adapters need whole weights: launch with DDP (torchrun, accelerate launch)"),
}
# An optimiser that is passed was made when there was nothing to train yet, and holds weights of the network.
_MADE = "pass optimizer_cls_and_kwargs=(torch.optim.SGD, {...}), or set it before train(), over trainer.adaptation.parameters()"


def check_arguments(args: Any, train: TrainConfig, named: Mapping[str, Any]) -> None:
    """Refuse what can't be followed, before anything is made.

    Raises:
        ConfigError: the message says what to do.
    """
    for name, theirs in THEIRS.items():
        if name in train.model_fields_set:
            raise ConfigError(f"train= sets {name}, which the trainer's arguments decide: set {theirs} there.")
    for name, why in (
        ("model_init", "pass the network as model="),
        ("compute_loss_func", "the loss is the ELBO; what labels are worth is said by likelihood="),
        ("peft_config", "adapter= says what is learned"),
        ("optimizers", _MADE),
    ):
        if named.get(name) is not None:
            raise ConfigError(f"{name}= can't be used here: {why}.")
    _, options = named.get("optimizer_cls_and_kwargs") or (None, {})
    if "lr" in options:
        raise ConfigError(
            "optimizer_cls_and_kwargs has lr, and factors, spreads and heads have rates of their own: leave it out, and set "
            "learning_rate of the trainer's arguments, which is that of factors, or train=TrainConfig(variational_lr=...)."
        )
    for name, (unset, why) in REFUSED.items():
        if args is not None and getattr(args, name, unset) not in (unset, None, False):
            raise ConfigError(f"{name}={getattr(args, name)!r}: {why}.")
    if args is not None and getattr(args, "fsdp", None):
        raise ConfigError("fsdp: adapters need whole weights: launch with DDP (torchrun, accelerate launch).")


def settings(args: Any, train: TrainConfig) -> TrainConfig:
    """Return settings of the training with what the arguments say in them."""
    found: dict[str, Any] = {}
    default = {f.name: f.default for f in type(args).__dataclass_fields__.values()}
    for name, theirs in (("lr", "learning_rate"), ("weight_decay", "weight_decay")):
        if name not in train.model_fields_set and getattr(args, theirs) != default[theirs]:
            found[name] = getattr(args, theirs)
    if getattr(args, "gradient_checkpointing", False):
        found["checkpoint_activations"] = True
    return train.replace(**found)
