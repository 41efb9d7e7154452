"""A network with a posterior over its adapters: bind a draw, save it, write it as a LoRA or as a plain network."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt
from torch import nn

from bayespeft.adapters.attach import Attachment, LayerWeights, Placement, check_unadapted, mode
from bayespeft.data.layout import Columns
from bayespeft.errors import AttachError, ConfigError
from bayespeft.io import checkpoint
from bayespeft.io.hub import model_card, push
from bayespeft.io.merge import merged_copy, write_merged
from bayespeft.io.peft_draws import write_draws
from bayespeft.io.peft_export import write_lora
from bayespeft.io.savable import check_savable
from bayespeft.io.saved import Base, Saved
from bayespeft.layers.fingerprint import fingerprint
from bayespeft.layers.merged import Merged, times_merged
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.regression import Regression
from bayespeft.methods.base import Method
from bayespeft.networks.configuration import name_of, name_outputs
from bayespeft.prediction.frozen import Frozen, sharing_copy
from bayespeft.prediction.predictor import Predictor
from bayespeft.report.base import Report
from bayespeft.training.history import History
from bayespeft.utils.checks import Count, Draw, Draws, Seed, checked_methods
from bayespeft.utils.threads import alone, alone_at_the_ends
from bayespeft.variational.adapted import Adapted
from bayespeft.variational.joint_guide import JointGuide
from bayespeft.version import __version__

# Before the names of saved tensors that are no part of the joint guide.
MERGED, CENTER = "merged/", "center/"


def centers_are_saved(placements: Iterable[Placement]) -> bool:
    """Whether a file says where priors are centered: the base alone can't tell it, or only by decomposing each layer."""
    return any(p.adapter.decomposes or p.adapter.merge_interval(1) is not None for p in placements)


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
        idle: freshly made layers that play no part in the network's output, and may differ when it is loaded again.
        columns: which column of the data was which in the fit, where the user said so; data to predict is read alike.
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
    idle: frozenset[str] = frozenset()
    columns: Columns = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.temperature != 1 and not self.likelihood.tempers:
            raise ConfigError(
                f"temperature={self.temperature}: it divides logits of classes, and likelihood "
                f"'{self.likelihood.kind}' has none."
            )
        self.base = self.base or fingerprint(self.model, exclude=self.heads | self.idle)
        self.merges = times_merged(self.model) if self.merges < 0 else self.merges

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

    def _tell_units(self) -> None:
        """Warn that a network alone says quantities in other units than the posterior does."""
        likelihood = self.likelihood
        if isinstance(likelihood, Regression) and likelihood.standardise:
            center = ", ".join(f"{value:.6g}" for value in likelihood.center)
            warnings.warn(
                "the network alone has outputs in standard deviations of the training targets: "
                f"y = ({center}) + {likelihood.spread:.6g} * output. For outputs in the targets' units pass "
                "likelihood=Regression(standardise=False) to fit.",
                stacklevel=4,
            )

    def _check_network(self) -> None:
        """Check that the network is the one of this posterior, with no adapter at work."""
        check_unadapted(self.model)
        if times_merged(self.model) != self.merges:
            raise AttachError(
                "another fit has merged into the network's weights since this posterior was made, so it belongs to a network "
                "that is no more. Load it again onto the base, or give the adapter of the other fit keep_original=True."
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
        return self.joint_guide.fixed_weights(values)

    @alone()
    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write the posterior (not the base network) as safetensors and JSON; `bayespeft.load` reads it.

        Raises:
            CheckpointError: the directory holds something else. ConfigError: a part is not registered, or a setting of it is
                lost on the way through JSON; `bayespeft.fit` warns of that before it trains.
        """
        check_savable(self.method, self.likelihood, (p.adapter for p in self.placements))
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
            base=Base(
                name=self._base_name,
                fingerprint=self.base,
            ),
            history=self.history,
            merged=None if self.merged is None else self.merged.steps(),
        )
        checkpoint.write(directory, tensors, saved.settings())

    def push_to_hub(
        self,
        repo_id: str,
        *,
        report: Report | None = None,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
    ) -> str:
        """Upload the posterior (not the base network) to the hub, with a model card; `bayespeft.from_pretrained` fetches it.

        Args:
            repo_id: "owner/name", which is made if it is not there.
            report: on held-out data, of which the card has figures, in its metadata too, but no rows.
            private: whether a new repository is; None: as the owner's are.
            token: of the hub; None for the one that is stored on this machine.
            revision: the branch; None: the main one.

        Returns:
            The address of the commit.

        Raises:
            CheckpointError: the hub refuses, or can't be reached. ConfigError: as `save`.
        """
        facts = {
            "Method": f"{self.method.title} ({self.method.reference})",
            "Layers": str(len(self.placements)),
            "Trainable parameters": f"{self.joint_guide.trainable():,}",
            "Classes": ", ".join(self.likelihood.class_names) or str(self.classes),
            "Temperature": f"{self.temperature:.4g}",
            "bayespeft": __version__,
        }
        card = model_card(repo_id, self._base_name, facts, self.likelihood.kind, report)
        return push(repo_id, self.save, card, private=private, token=token, revision=revision)

    @alone()
    def merged_model(self, draw: Draw = "mean", seed: Seed = 0) -> nn.Module:
        """Return a plain copy of the network with one draw of every adapter, and all merged before, in its weights.

        It is in evaluation mode, and its configuration calls the classes as the posterior does.

        A fitted temperature, and the units of targets, have no place in it: see `using`. A warning says so of units.

        Args:
            draw: as for `using`; one draw is one network.
            seed: of the draws.

        Raises:
            AttachError: a weight is quantised or in half precision, so that the change would be rounded away, or it is
                shared with another module. ConfigError: `draw` is neither "mean" nor the number of a draw.
        """
        self._check_network()
        self._tell_units()
        network = merged_copy(self.model, self.placements, self._one_network(draw, seed), self.merged)
        name_outputs(network, self.likelihood.class_names)
        return network

    @alone()
    @torch.no_grad()
    def freeze(self, draws: Draws = 8, seed: Seed = 0) -> Frozen:
        """Return a plain module for serving: it takes a batch and gives averaged probabilities, without Pyro, tokenizer, state.

        `frozen(**inputs)` (or `frozen(x)`) gives (n, K) probabilities, those of `predict` with as many draws of this seed, a
        fitted temperature included. It shares the network's weights, so it costs the draws' factors alone. Several threads may
        call it at once.

        Args:
            draws: how many; 0 is the posterior mean. An ensemble has its members.
            seed: of the draws.

        Raises:
            ConfigError: labels are no classes, or an ensemble is asked for its mean.
        """
        with self._predictor() as predictor:
            count = predictor.check(draws, "plain", 1.0) or 0
            values = self.joint_guide.latent.draws(count, torch.Generator().manual_seed(seed)) if count else {}
            weights = self.joint_guide.folded_weights(values, 1)
        # What was merged stands in a copy's own weights.
        network = sharing_copy(self.model) if self.merged is None else merged_copy(self.model, (), {}, self.merged)
        adapters = {p.layer.name: p.adapter for p in self.placements}
        return Frozen(network, adapters, weights, self.likelihood, max(count, 1), self.temperature)

    @alone()
    def export_merged(self, directory: str | os.PathLike[str], draw: Draw = "mean", seed: Seed = 0) -> None:
        """Write `merged_model` as a full checkpoint that `from_pretrained` reads, with the tokenizer if there is one.

        The directory must be new or empty.

        Raises:
            CheckpointError: the network is none of transformers', or the directory is not empty. And as `merged_model`.
        """
        write_merged(directory, self.merged_model(draw, seed), self.tokenizer)

    @alone()
    def export_peft(
        self,
        directory: str | os.PathLike[str],
        draw: Draw | Literal["all"] = "mean",
        seed: Seed = 0,
        *,
        draws: Annotated[Draws, Gt(0)] = 8,
        head: bool = True,
        rank: Count | None = None,
    ) -> None:
        """Write one draw, or several, as LoRAs that `peft.PeftModel.from_pretrained` loads onto the same base network.

        A fitted temperature, and the units of targets, have no place in that format: see `using`. A warning says so of units.

        `draw="all"` writes a folder `draw-0`, `draw-1`, ... for each of `draws` networks, and `draws.json`, which names them
        and says how their predictions are to be averaged (temperature included): the mean of their probabilities is that of
        `predict` with as many draws of this seed. Each has one rank for all layers and its scale in its values, as servers of
        many adapters want them.

        Args:
            directory: new, empty, or with an earlier export, which is replaced.
            draw: as for `using`; one draw is one network, so what the others say is lost. "all" writes several.
            seed: of the draws.
            draws: how many, for "all". An ensemble has its members.
            head: for "all": write freshly made layers, too (`modules_to_save`).
            rank: for "all": cap the rank of each layer's change; a warning and the manifest state the error.

        Raises:
            CheckpointError: an adapter's change is not exactly a LoRA, or the directory holds something else.
            ConfigError: `draw` is none of these, or `draw="all"` of a posterior without spread.
        """
        self._check_network()
        self._tell_units()
        if draw != "all":
            write_lora(directory, self.model, self.placements, self._one_network(draw, seed), self.merged)
            return
        with self._predictor() as predictor:
            count = predictor.check(draws, "plain", 1.0)
        if not count:
            raise ConfigError(
                f"draw='all': method '{self.method.name}' has no spread, so all draws are one: draw='mean'."
            )
        facts = {
            "draws": count,
            "seed": seed,
            "temperature": self.temperature,
            "likelihood": self.likelihood.model_dump(mode="json"),
            "classes": self.classes,
            "class_names": list(self.likelihood.class_names),
            "base": self._base_name,
            "method": self.method.name,
            "bayespeft": __version__,
        }
        networks = self._networks(count, seed)
        write_draws(directory, self.model, self.placements, networks, self.merged, facts=facts, head=head, rank=rank)

    @property
    def _base_name(self) -> str:
        return name_of(self.model) or type(self.model).__name__

    @torch.no_grad()
    def _networks(self, count: int, seed: int) -> Iterator[LayerWeights]:
        """Yield draws as networks; each is drawn once."""
        mean = self.joint_guide.mean()
        values = self.joint_guide.latent.draws(count, torch.Generator().manual_seed(seed))
        for number in range(count):
            yield self.joint_guide.fixed_weights(mean | {name: value[number] for name, value in values.items()})
