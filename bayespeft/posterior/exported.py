"""A posterior as something else: a plain network, a module for serving, LoRAs of peft, a repository of the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import nn

from bayespeft.adapters.attach import LayerWeights
from bayespeft.errors import ConfigError
from bayespeft.io.merge import merged_copy, write_merged
from bayespeft.io.peft_draws import write_draws
from bayespeft.io.peft_export import write_lora
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.likelihoods.class_weight import shift
from bayespeft.likelihoods.regression import Regression
from bayespeft.networks.configuration import name_outputs
from bayespeft.posterior.fitted import Fitted
from bayespeft.prediction.frozen import Frozen, sharing_copy
from bayespeft.report.base import Report
from bayespeft.utils.annotations import Count, Draw, Draws, Seed
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.threads import alone
from bayespeft.utils.warned import warn
from bayespeft.version import __version__


@checked_methods
@dataclass(repr=False)
class Exported(Fitted):
    """A posterior that leaves the package; attributes as `Fitted`."""

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
        from bayespeft.io.hub import model_card, push  # what speaks to the hub is slow to import

        facts = {
            "Method": f"{self.method.title} ({self.method.reference})",
            "Layers": str(len(self.placements)),
            "Trainable parameters": f"{self.joint_guide.trainable():,}",
            "Classes": ", ".join(self.likelihood.class_names) or str(self.classes),
            "Temperature": f"{self.temperature:.4g}",
            "bayespeft": __version__,
        }
        card = model_card(repo_id, self._base_name, facts, self.likelihood.kind, report)
        return push(repo_id, self, card, private=private, token=token, revision=revision)

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
        fitted temperature included. Where the posterior predicts with the network linearised, they are those of
        `predict(prediction="sampled")`, and a warning says so. It shares the network's weights, so it costs the draws' factors
        alone. Several threads may call it at once.

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
        if count:
            self._tell_sampled()
        # What was merged stands in a copy's own weights.
        network = sharing_copy(self.model) if self.merged is None else merged_copy(self.model, (), {}, self.merged)
        adapters = {p.layer.name: p.adapter for p in self.placements}
        return Frozen(network, adapters, weights, self.likelihood, max(count, 1), self.temperature, self.classes)

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
        and says how their predictions are to be averaged (with temperature, and `logit_shift` of a prior correction): the mean
        of their probabilities is that of `predict` with as many draws of this seed (with `prediction="sampled"`: a warning says
        so where that is not how the posterior predicts). Each has one rank for all layers and its scale in its values, as
        servers of many adapters want them.

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
        self._tell_sampled()
        facts = {
            "draws": count,
            "seed": seed,
            "temperature": self.temperature,
            "logit_shift": self._shift(),
            "likelihood": self.likelihood.model_dump(mode="json"),
            "classes": self.classes,
            "class_names": list(self.likelihood.class_names),
            "base": self._base_name,
            "method": self.method.name,
            "bayespeft": __version__,
        }
        networks = self._networks(count, seed)
        write_draws(directory, self.model, self.placements, networks, self.merged, facts=facts, head=head, rank=rank)

    def _shift(self) -> list[float] | None:
        """What is added to the logits of classes behind the temperature, where their weights are corrected for."""
        likelihood = self.likelihood
        if not isinstance(likelihood, Categorical) or not likelihood.prior_corrected or likelihood.weights is None:
            return None
        return list(shift(likelihood.weights))

    def _tell_units(self) -> None:
        """Warn that a network alone says quantities in other units than the posterior does."""
        likelihood, corrected = self.likelihood, self._shift()
        if corrected is not None:
            added = ", ".join(f"{value:.6g}" for value in corrected)
            warn(
                f"the network alone has the logits of classes as they were weighed: add ({added}) to them, behind a "
                "temperature, for the probabilities of with_prior_correction().",
            )
        if isinstance(likelihood, Regression) and likelihood.standardise:
            center = ", ".join(f"{value:.6g}" for value in likelihood.center)
            warn(
                "the network alone has outputs in standard deviations of the training targets: "
                f"y = ({center}) + {likelihood.spread:.6g} * output. For outputs in the targets' units pass "
                "likelihood=Regression(standardise=False) to fit.",
            )

    def _tell_sampled(self) -> None:
        """Warn that draws, which are networks, are not what the posterior predicts with."""
        if self.method.predicts == "linearised":
            warn(
                f"method '{self.method.name}' predicts with the network linearised, and draws are networks: their "
                "probabilities are those of predict(prediction='sampled'), and report(prediction='sampled') judges them.",
            )

    @torch.no_grad()
    def _networks(self, count: int, seed: int) -> Iterator[LayerWeights]:
        """Yield draws as networks; each is drawn once."""
        mean = self.joint_guide.mean()
        values = self.joint_guide.latent.draws(count, torch.Generator().manual_seed(seed))
        for number in range(count):
            yield self.joint_guide.shared_weights(mean | {name: value[number] for name, value in values.items()})
