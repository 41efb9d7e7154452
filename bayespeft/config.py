"""Settings: immutable, validated, JSON both ways.

pydantic models rather than plain dataclasses, because a method supplies defaults for what the user left out: that
needs to be known field by field (`model_fields_set`), and every value needs checking with the field's name in the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import isabstract
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer, model_validator

from bayespeft import registry
from bayespeft.errors import ConfigError
from bayespeft.utils.described import shown

T = TypeVar("T", bound="Config")


class Config(BaseModel):
    """Base of all settings: frozen, no unknown fields, errors as `ConfigError` that name the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']} (got {e['input']!r})" for e in error.errors()
            )
            raise ConfigError(
                f"{type(self).__name__}: {problems}. Fields: {', '.join(type(self).model_fields)}."
            ) from None

    def replace(self: T, **changes: Any) -> T:
        """Return a copy with some fields changed (and validated), remembering which fields were set explicitly."""
        set_fields = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**set_fields, **changes})

    def over(self: T, defaults: T) -> T:
        """Return these settings on top of `defaults`: what was set explicitly here wins, the rest comes from there.

        Raises:
            ConfigError: `defaults` are no settings of this kind.
        """
        if not isinstance(defaults, type(self)):
            raise ConfigError(f"over: defaults={shown(defaults)} must be a {type(self).__name__}.")
        return defaults.replace(**{name: getattr(self, name) for name in self.model_fields_set})


class Plugin(Config):
    """A setting that is also a choice among registered classes of one room (adapters, guides, likelihoods, priors).

    Its JSON carries `kind`, the registered name, so that `Plugin` fields read back as the class they were.
    """

    room: ClassVar[str]

    @property
    def kind(self) -> str:
        """The registered name: by the house's rule, the name of the module that defines the class."""
        return registry.name_of(type(self))

    @model_serializer(mode="wrap")
    def _write_kind(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {"kind": self.kind, **handler(self)}

    @model_validator(mode="wrap")
    @classmethod
    def _read_kind(cls, value: Any, handler: Callable[[Any], Any]) -> Any:
        if isinstance(value, str):
            value = {"kind": value}
        if isinstance(value, dict) and "kind" in value:
            fields = {name: field for name, field in value.items() if name != "kind"}
            return registry.get(cls.room, value["kind"])(**fields)
        if isinstance(value, dict) and isabstract(cls):
            raise ValueError(f"name one by 'kind': {', '.join(registry.names(cls.room))}")
        return handler(value)


class Targets(Config):
    """Which layers get an adapter.

    Attributes:
        modules: "auto" (query and value projections, found by the structure of blocks of attention: see
            `bayespeft.layers.attention`), "all-linear" (every linear layer but the head), a list of module names (whole
            names or their last parts, as in peft), or one regular expression that must match a module's whole name.
        layers: keep only modules inside these blocks, as (first, last), both included, counted from 0, or, where negative,
            from the end: (-3, -1) are the last three, whose draws share all that lies below them. A module's block is the
            first number in its dotted name. A block that the network lacks is an error.
        exclude: leave these out of what `modules` selects: names (whole names or their last parts) or regular expressions
            that must match a whole name. One that matches nothing is an error.
    """

    modules: str | list[str] = "auto"
    layers: tuple[int, int] | None = None
    exclude: list[str] = []


class TrainConfig(Config):
    """How to train. Whatever is left out comes from the method; these are the values for a method that says nothing.

    Attributes:
        steps: optimiser steps; overrides `epochs`. "auto": as many as held-out rows, or cross-fitting, say (see
            `bayespeft.training.horizon`); "settled": until the training NLL has settled.
        epochs: passes over the data; set by the user, they override a method's "auto".
        most_steps: where the run decides its length, it ends after so many steps, or `MOST_EPOCHS` passes if these are more.
        span: the steps that `warmup` and `kl_warmup` are fractions of; None: those of the run. Where the run decides its
            length, None means `SPAN`.
        average: the power g of averaging over the path: what is kept is the mean of all iterates, step t weighed by about
            t^g (Shamir and Zhang 2013, arXiv 1212.1824, section 4). 0: the last iterate.
        calibrate: with steps="auto", divide logits by the temperature under which the held-out rows are the most probable,
            brought nearer to 1 where the fit has more rows than those that they judged (`bayespeft.prediction.temperature`).
        batch_size: examples per optimiser step and micro-batch (a `DataLoader` brings its own).
        accumulate: micro-batches per optimiser step; the loss does not depend on it.
        lr: peak learning rate of adapter factors: point factors and variational means.
        variational_lr: peak learning rate of the variational spread parameters.
        head_lr: peak learning rate of a freshly made head, as a step of its outputs (logits): that of each element of its
            weight is this over the number of inputs.
        width: a matrix of more inputs than this learns at `lr` times width / inputs: a step of Adam moves its outputs in
            proportion to their number (Hayou et al. 2024, arXiv 2402.12354, LoRA+). None: at `lr` whatever its width.
        factor_lr: peak learning rates of single factors by name, such as {"values": 2e-4}, in the place of `lr`; names that
            the adapter lacks mean nothing.
        warmup: fraction of the steps over which the learning rate rises linearly.
        lr_schedule: "linear" (after the warm-up it falls linearly to 0) or "constant".
        weight_decay: AdamW's decoupled decay, on adapter factors and head only, never on spread parameters.
        clip: maximal norm of the gradient over all parameters; 0 switches it off.
        kl_weight: weight of the prior terms (KL of latents, -log prior of points); 1 is the ELBO.
        kl_weights: with steps="auto", multiples of `kl_weight` that rows held out choose among, beside 1, tried in turn while
            each is better than the one before; a `kl_weight` that is set takes their place.
        kl_warmup: fraction of the steps over which `kl_weight` rises linearly from 0.
        kl_pace: the weight of the prior terms for each example, kl_weight / N, rises by no more than 1 / kl_pace a step, and
            over at most `bayespeft.training.schedule.SLOWEST` spans, so that few rows are learned before the prior, which
            weighs the more the fewer they are, holds them: for runs whose length held-out rows decide. 0: no limit.
        kl_schedule: "constant", or "blob": the official BLoB reweighting (cycles of 2^i; over-weights the KL).
        kl_lr: peak rate of steps of their own for the weighted prior terms: plain gradient descent on these, after each step
            on the NLL, as the official code of BLoB and ScalaBL does; None: one objective, one optimiser.
        precision: "auto" (bf16 autocast on a GPU that has it, else "float32"), "bf16" or "float32". Variational
            parameters, KL and log-probabilities are float32 in every case.
        dropout: run the network's own dropout while training. Off by default: the ELBO is then that of one function.
        checkpoint_activations: recompute each block's activations in the backward pass, to save memory.
        layers_at_once: train so many of the network's blocks at a time, from the last to the first, each for an equal
            share of the steps; None trains all of them all the time (see `bayespeft.training.layerwise`).
    """

    steps: Annotated[int, Field(ge=1)] | Literal["auto", "settled"] | None = None
    epochs: float = Field(default=3.0, gt=0)
    most_steps: int = Field(default=2000, ge=1)
    span: int | None = Field(default=None, ge=1)
    average: float = Field(default=0.0, ge=0)
    calibrate: bool = False
    batch_size: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    lr: float = Field(default=1e-3, ge=0)
    variational_lr: float = Field(default=1e-2, ge=0)
    head_lr: float = Field(default=0.03, ge=0)
    width: int | None = Field(default=None, ge=1)
    factor_lr: dict[str, Annotated[float, Field(ge=0)]] = {}
    warmup: float = Field(default=0.06, ge=0, le=1)
    lr_schedule: Literal["linear", "constant"] = "linear"
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, ge=0)
    kl_weight: float = Field(default=1.0, ge=0)
    kl_weights: tuple[Annotated[float, Field(gt=0)], ...] = ()
    kl_warmup: float = Field(default=0.0, ge=0, le=1)
    kl_pace: float = Field(default=0.0, ge=0)
    kl_schedule: Literal["constant", "blob"] = "constant"
    kl_lr: float | None = Field(default=None, gt=0)
    precision: Literal["auto", "bf16", "float32"] = "auto"
    dropout: bool = False
    checkpoint_activations: bool = False
    layers_at_once: int | None = Field(default=None, ge=1)

    def steps_per_epoch(self, batches: int) -> float:
        """Return the optimiser steps of a pass over data of so many batches, which need not be a whole number."""
        return batches / self.accumulate

    def total_steps(self, batches: int) -> int:
        """Return the optimiser steps of a run over data of so many batches: `steps`, or those of `epochs`, at least one.

        Raises:
            ConfigError: the run itself decides its number of steps.
        """
        if isinstance(self.steps, str):
            raise ConfigError(f"steps={self.steps!r} leaves the number of steps to the run: set steps or epochs.")
        return self.steps or max(1, math.ceil(self.epochs * batches / self.accumulate))

    def over(self, defaults: TrainConfig) -> TrainConfig:
        """Return these settings on top of `defaults`; what is set here takes the place of what a method leaves to the rows.

        That is, epochs that of its steps, and a weight of the prior that of the weights to choose among.
        """
        epochs_alone = "epochs" in self.model_fields_set and "steps" not in self.model_fields_set
        weight_alone = "kl_weight" in self.model_fields_set and "kl_weights" not in self.model_fields_set
        replaced = {**({"steps": None} if epochs_alone else {}), **({"kl_weights": ()} if weight_alone else {})}
        return super().over(defaults.replace(**replaced) if replaced else defaults)
