"""A method: a published triple of adapter, guide and settings, with its reference. Data, not code."""

from __future__ import annotations

from typing import Literal

from pydantic import SerializeAsAny

from bayespeft.adapters.base import Adapter
from bayespeft.config import Config, Targets, TrainConfig
from bayespeft.guides.base import GuideSpec
from bayespeft.priors.base import Prior
from bayespeft.priors.flat import Flat

# A run that decides its own length by held-out rows, and the temperature with it: see `bayespeft.training.held_out`.
FREE = TrainConfig(
    steps="auto",
    lr=2e-3,
    width=512,
    lr_schedule="constant",
    average=8.0,
    calibrate=True,
    kl_weights=(0.1, 0.01),
    kl_warmup=0.5,
    variational_lr=1e-2,
)
# Maximum likelihood to its end, as people train who hold nothing out.
TO_THE_END = TrainConfig(steps="settled", lr=2e-3, width=512, lr_schedule="constant", average=8.0)


class Method(Config):
    """What is learned, how it is uncertain, what is believed before the data, and how it is trained.

    Attributes:
        name: the key in `bayespeft.methods()`.
        title: the name in tables.
        reference: paper, with arXiv number.
        summary: one line on the idea.
        deviations: where this differs from the paper, and why.
        adapter: what is learned.
        guide: how it is uncertain.
        latent_prior: of the latent factors, centered where the adapter says.
        point_prior: of the other factors; a normal one makes their estimate MAP.
        head_prior: of a freshly made head, centered at zero.
        targets: which layers it adapts, by its paper; a user's own choice goes over it.
        train: defaults of the training; a user's own settings go over them.
        prediction: "sampled" (average over draws of the weights) or "linearised" (the network linearised in the latents);
            None: as the guide has it.
        temperature: fit a temperature to validation data after training; `fit` then needs `validation=`.
    """

    name: str
    title: str
    reference: str
    summary: str
    deviations: str = ""
    adapter: SerializeAsAny[Adapter]
    guide: SerializeAsAny[GuideSpec]
    latent_prior: SerializeAsAny[Prior]
    point_prior: SerializeAsAny[Prior] = Flat()
    head_prior: SerializeAsAny[Prior] = Flat()
    targets: Targets = Targets()
    train: TrainConfig = TrainConfig()
    prediction: Literal["sampled", "linearised"] | None = None
    temperature: bool = False

    @property
    def predicts(self) -> Literal["sampled", "linearised"]:
        """How its posterior predicts unless the user says otherwise: as the method says, or else as the guide does."""
        return self.prediction or self.guide.prediction
