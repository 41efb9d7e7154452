"""A network with a posterior over its adapters: what every use stands on. Bind a draw, save it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from bayespeft.adapters.attach import Attachment, LayerWeights, Placement, check_unadapted, mode
from bayespeft.data.layout import Columns
from bayespeft.errors import AttachError, ConfigError
from bayespeft.io import checkpoint
from bayespeft.io.savable import check_savable
from bayespeft.io.saved import Base, Saved
from bayespeft.layers.fingerprint import digest, fingerprint
from bayespeft.layers.merged import Merged, times_merged
from bayespeft.layers.versions import Version, changed, versions
from bayespeft.likelihoods.base import Likelihood
from bayespeft.methods.base import Method
from bayespeft.networks.configuration import name_of
from bayespeft.networks.vocabulary import reading
from bayespeft.prediction.predictor import Predictor
from bayespeft.training.history import History
from bayespeft.utils.annotations import Draw, Seed
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.threads import alone, alone_at_the_ends
from bayespeft.variational.adapted import Adapted
from bayespeft.variational.joint_guide import JointGuide
from bayespeft.version import __version__

# Saved tensors that are no part of the joint guide have these before their names.
MERGED, CENTER = "merged/", "center/"


def centers_are_saved(placements: Iterable[Placement]) -> bool:
    """Whether a file says where priors are centered: the base alone can't tell it, or only by decomposing each layer."""
    return any(p.adapter.decomposes or p.adapter.anchors or p.adapter.merge_interval(1) is not None for p in placements)


@checked_methods
@dataclass(repr=False)
class Fitted:
    """A network and a posterior over the factors of its adapters: what every use of them stands on.

    Attributes:
        model: the network.
        method: the method with all its settings as they were used.
        placements: where adapters sit.
        joint_guide: q, its priors and the point factors.
        likelihood: what the network's output means.
        history: how training went.
        classes: K.
        seed: of the fit.
        tokenizer: for data that is still text, or None.
        temperature: divides the logits of classes, or of answers, of every draw in prediction; 1 unless it was fitted to data
            that was held out. `generate` and `score`, whose laws are over the whole vocabulary, don't use it.
        merged: what the adapters merged into the network's own weights, or None where they never do.
        base: the fingerprint of the network as the fit was given it.
        merges: how often the network had been merged into when this posterior was made: after that it is another network.
        versions: where its weights lay, and how often each had been written, when it had that fingerprint: see
            `bayespeft.layers.versions`.
        idle: freshly made layers that play no part in the network's output, and may differ when it is loaded again.
        columns: which column of the data was which in the fit, where the user said so; data to predict is read alike.
        imported: of a LoRA that peft trained, the SHA-256 of each file that it was read from, by name; else empty.
    """

    model: nn.Module
    method: Method
    placements: tuple[Placement, ...]
    joint_guide: JointGuide
    likelihood: Likelihood
    history: History
    classes: int
    seed: int
    tokenizer: Any = None
    temperature: float = 1.0
    merged: Merged | None = None
    base: dict[str, str] = field(default_factory=dict)
    merges: int = -1
    versions: dict[str, Version] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()
    columns: Columns = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    _digested: tuple[list[tuple[int, int]], str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.temperature != 1 and not self.likelihood.tempers:
            raise ConfigError(
                f"temperature={self.temperature}: it divides logits of classes, and likelihood "
                f"'{self.likelihood.kind}' has none."
            )
        self.base = self.base or fingerprint(self.model, exclude=self.heads | self.idle)
        self.merges = times_merged(self.model) if self.merges < 0 else self.merges
        self.versions = self.versions or versions(self.model)

    def __repr__(self) -> str:
        """Return what it is in a line: a network's own repr is hundreds."""
        return (
            f"{type(self).__name__}(method={self.method.name!r}, model={type(self.model).__name__}, "
            f"likelihood={self.likelihood.kind!r}, classes={self.classes}, layers={len(self.placements)}, "
            f"trainable={self.joint_guide.trainable()}, temperature={self.temperature:.4g}, seed={self.seed})"
        )

    @property
    def device(self) -> torch.device:
        """Where the network's first parameter lives."""
        return next(self.model.parameters()).device

    @property
    def total_parameters(self) -> int:
        """Numbers of the network, and those of the adapters and the guide beside them."""
        return sum(parameter.numel() for parameter in self.model.parameters()) + self.joint_guide.trainable()

    @property
    def heads(self) -> set[str]:
        """Names of the layers that are freshly made, trained whole: the head, and what a checkpoint lacked."""
        return {p.layer.name for p in self.placements if p.head}

    def _digest(self) -> str:
        """Return a digest of q, the network that it is over, and what its output means; loading does not change it."""
        tensors = self.joint_guide.state_dict()
        seen = [(value.data_ptr(), value._version) for value in tensors.values()]
        if self._digested is None or self._digested[0] != seen:
            said = [
                {name: digest(value) for name, value in tensors.items()},
                {p.layer.name: p.adapter.model_dump(mode="json") for p in self.placements},
                self.likelihood.model_dump(mode="json"),
                self.base,
            ]
            self._digested = seen, hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return self._digested[1]

    @contextmanager
    def _predictor(self) -> Iterator[Predictor]:
        with self._attached() as attachment:
            adapted = Adapted(self.model, attachment, self.joint_guide, self.likelihood, self.device, self.classes)
            yield Predictor(adapted, self.temperature)

    @contextmanager
    def using(self, draw: Draw = "mean", seed: Seed = 0) -> Iterator[nn.Module]:
        """Give the network one draw's weights inside a `with` block: `with posterior.using("mean") as model: ...`.

        It is in evaluation mode there, and as it was afterwards. Its logits are not yet divided by a fitted `temperature`, and
        its outputs of quantities are not yet in the targets' units where the likelihood standardises:
        y = likelihood.center + likelihood.spread * output.
        Other threads may not use the network with a posterior meanwhile, and are told so.

        Args:
            draw: "mean", or the number of a draw, as in `predict` with the same seed.
            seed: of the draws.

        Raises:
            ConfigError: `draw` is neither. AttachError: the network is in such a block already.
        """
        with alone_at_the_ends(self._bound(draw, seed)), torch.no_grad():
            yield self.model

    @contextmanager
    def _bound(self, draw: Draw, seed: int) -> Iterator[None]:
        weights = self._one_network(draw, seed)
        with self._attached() as attachment, mode(self.model, keep_cache=True):
            attachment.bind(weights)
            yield

    def _check_network(self) -> None:
        """Check that the network is the one of this posterior, with no adapter at work."""
        check_unadapted(self.model)
        if times_merged(self.model) != self.merges:
            raise AttachError(
                "another fit has merged into the network's weights since this posterior was made, so it belongs to a network "
                "that is no more. Load it again onto the base, or give the adapter of the other fit keep_original=True."
            )
        own = self.merged.changes if self.merged is not None and self.merged.in_place else {}
        if (name := changed(self.model, self.versions, self.base, {f"{layer}.weight" for layer in own})) is not None:
            raise AttachError(
                f"'{name}' has other values than when this posterior was fitted (was the network trained further, or another "
                "checkpoint loaded into it?), so predictions would be of another network. Give it back its weights "
                "(load_state_dict), or load or fit the posterior on a network of its own."
            )

    @contextmanager
    def _attached(self) -> Iterator[Attachment]:
        self._check_network()
        with Attachment(self.placements, self.merged) as attachment:
            yield attachment

    @torch.no_grad()
    def _one_network(self, draw: Draw, seed: int) -> LayerWeights:
        if draw == "mean" and self.joint_guide.latent.members is not None:
            raise ConfigError(
                "'mean' would average the weights of an ensemble, which no member has: name a draw, from 0."
            )
        values = self.joint_guide.mean()
        if draw != "mean":
            values |= self.joint_guide.latent.draw(draw, torch.Generator().manual_seed(seed))
        return self.joint_guide.shared_weights(values)

    @alone()
    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write the posterior (not the base network) as safetensors and JSON; `bayespeft.load` reads it.

        Raises:
            CheckpointError: the directory holds something else. ConfigError: a part is not registered, or a setting of it is
                lost on the way through JSON; `bayespeft.fit` warns of that before it trains.
        """
        check_savable(self.method, self.likelihood, [p.adapter for p in self.placements])
        tensors = self.joint_guide.state_dict()
        if centers_are_saved(self.placements):
            tensors |= {f"{CENTER}{name}": value for name, value in self.joint_guide.center_buffers().items()}
        if self.merged is not None:
            self._check_network()
            state = self.merged.state({p.layer.name: p.layer for p in self.placements})
            tensors |= {f"{MERGED}{name}": value for name, value in state.items()}
        saved = Saved(
            bayespeft=__version__,
            method=self.method,
            likelihood=self.likelihood,
            sites={p.layer.name: p.adapter for p in self.placements},
            heads=tuple(sorted(self.heads)),
            idle=tuple(sorted(self.idle)),
            classes=self.classes,
            seed=self.seed,
            temperature=self.temperature,
            columns=dict(self.columns),
            imported=self.imported,
            orders={p.layer.name: p.order for p in self.placements if p.order != "first"},
            base=Base(
                name=self._base_name,
                fingerprint=self.base,
                reading=reading(self.tokenizer),
            ),
            history=self.history,
            merged=None if self.merged is None else self.merged.steps(),
        )
        checkpoint.write(directory, tensors, saved.settings())

    @property
    def _base_name(self) -> str:
        return name_of(self.model) or type(self.model).__name__
