"""`BayesTraining`: a mixin that makes a `Trainer` of transformers fit a posterior instead of a point."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bayespeft.adapters.base import Adapter
from bayespeft.config import Targets, TrainConfig
from bayespeft.data.columns import LABELS
from bayespeft.data.layout import Columns
from bayespeft.errors import CheckpointError, ConfigError, DataError
from bayespeft.fitting.adapt import adapt
from bayespeft.fitting.adaptation import Adaptation
from bayespeft.guides.base import GuideSpec
from bayespeft.integrations.arguments import REFUSED, check_arguments, settings
from bayespeft.integrations.row_reading import RowReading
from bayespeft.layers.network import bare
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.class_weight import ClassWeight
from bayespeft.methods.base import Method
from bayespeft.networks.trainers import given_to_trainer
from bayespeft.posterior.posterior import Posterior
from bayespeft.predictive.base import Prediction
from bayespeft.utils.annotations import Draws
from bayespeft.utils.checks import check

STATE, NOISE = "adaptation.pt", "noise_{}.pt"


class BayesTraining(RowReading):
    """A mixin over `transformers.Trainer`, or a subclass of it: `class Mine(BayesTraining, MyTrainer)`.

    The loss is the ELBO with N the number of training examples: E_q[NLL] + kl_weight * KL / N, nats per example. What the
    trainer sees as its model is that objective, whose parameters are the adapters': these alone are synchronised, clipped and
    saved. `evaluate` and `predict` average over draws: predictions are averaged probabilities (of quantities the mean, of texts
    the log-probability of each), and the loss is the averaged prediction's NLL. Logs of the training have `nll` (nats per
    example), `kl` (nats) and `elbo` (nats per example). Checkpoints go on bit by bit; `posterior()` gives what was trained.

    Between calls the network is as it was.

    Args:
        model: as for `bayespeft.fit`.
        args: the trainer's. They decide length, batches, accumulation, clipping, precision, schedule and seed.
            `learning_rate`, where it is not the default, is the rate of factors, and `weight_decay` theirs; all other rates are
            the method's, or those of `train`.
        positional, named: as for the trainer that this is mixed into. `train_dataset` holds tokenised rows, or raw ones, as
            `bayespeft.fit` takes them, which `processing_class` reads; a collator of your own is given rows as they are.
            An optimiser of your own is `optimizer_cls_and_kwargs`, since there is nothing to train yet.
        guide, adapter, likelihood, class_weight, targets, start, columns: as for `bayespeft.adapt`.
        train: further settings of the training, such as variational_lr or kl_warmup.
        data_size: N; needed where the data set has no length.
        draws: of predictions; 0 for the mean.

    Attributes:
        adaptation: the network with its adapters, as `bayespeft.adapt` returns it.

    Raises:
        ConfigError: a setting can't be followed. DataError: there is no training data, or it can't be used. And
            what `bayespeft.adapt` raises.
    """

    default_likelihood: ClassVar[str | None] = None

    def __init__(
        self,
        model: Any = None,
        args: Any = None,
        *positional: Any,
        guide: str | Method | GuideSpec = "melora",
        adapter: str | Adapter | None = None,
        likelihood: str | Likelihood | None = None,
        class_weight: ClassWeight | None = None,
        targets: str | Sequence[str] | Targets | None = None,
        train: TrainConfig = TrainConfig(),
        start: Posterior | None = None,
        columns: Columns | None = None,
        data_size: int | None = None,
        draws: int = 5,
        **named: Any,
    ) -> None:
        draws = check(f"{type(self).__name__}: draws", draws, Draws)
        check_arguments(args, train, named)
        network = bare(model)
        self._columns = {**({} if start is None else start.columns), **(columns or {})}
        with given_to_trainer(network):
            super().__init__(network, args, *positional, **named)
        # Copies of the network side by side in one process would run with the hooks of the first.
        self.args._n_gpu = min(self.args.n_gpu, 1)
        made = {"compute_loss_func": self.compute_loss_func, "optimizers": self.optimizer or self.lr_scheduler}
        made["optimizer_cls_and_kwargs"] = self.optimizer_cls_and_kwargs
        check_arguments(self.args, train, made)
        self._prepare_columns(network, likelihood)
        size = data_size or _length(self.train_dataset)
        example, raw = self._example()
        self.adaptation: Adaptation = adapt(
            network,
            example,
            size,
            guide,
            tokenizer=self.processing_class if raw else self._text_tokenizer(),
            adapter=adapter,
            likelihood=likelihood or (self.default_likelihood if start is None else None),
            class_weight=self._balanced() if isinstance(class_weight, str) else class_weight,
            targets=targets,
            train=settings(self.args, train),
            start=start,
            columns=self._columns if raw else None,
            seed=self.args.seed,
        )
        self._reads_with(self.adaptation)
        self.draws = draws
        objective: Any = self.adaptation.module
        objective.main_input_name = getattr(network, "main_input_name", "input_ids")
        # The trainer asks its model for what `checkpoint_activations` does already.
        objective.gradient_checkpointing_enable = objective.activation_checkpointing_enable = lambda *_, **__: None
        self.model = self.model_wrapped = self.callback_handler.model = objective
        # The loss is a mean over the batch, to be divided by the micro-batches of a step.
        self.model_accepts_loss_kwargs = False
        self.can_return_loss = False

    def posterior(self) -> Posterior:
        """Return the posterior as it is now; `posterior().save(directory)` keeps it.

        Raises:
            FitError: nothing was trained.
        """
        return self.adaptation.posterior()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, as the trainer does; arguments and result are its own."""
        with self.adaptation:
            return super().train(*args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate or predict with the adapters on the network; arguments and result are the trainer's."""
        with self.adaptation:
            return super().evaluation_loop(*args, **kwargs)

    def create_optimizer(self, model: Any = None) -> Any:
        """Make the optimiser that the arguments name, over the groups of the adaptation with their rates.

        Raises:
            ConfigError: it is one that takes the network itself.
        """
        if self.optimizer is None:
            named = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, self.model)
            kind, options = named
            own = {"params", "model", "optimizer_dict"} & options.keys()
            if own or not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
                shown = f"optim={self.args.optim!s}" if self.optimizer_cls_and_kwargs is None else f"{kind}"
                raise ConfigError(
                    f"{shown}: an optimiser that chooses its parameters in the network can't train "
                    "adapters: take optim='adamw_torch'."
                )
            self.optimizer: Any = kind(self.adaptation.parameters(), **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the schedule that the arguments name; the KL's warm-up is a fraction of the same steps."""
        self.adaptation.plan(num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the objective on a batch, in nats per example; there are no outputs, since a draw's are nobody's."""
        loss = model(inputs)
        return (loss, {}) if return_outputs else loss

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the averaged prediction of a batch: its mean NLL, the prediction, and the labels, where there are any."""
        inputs = self._prepare_inputs(inputs)
        found = self.adaptation.predict(inputs, self.draws, self.args.seed)
        labels = next((inputs[name] for name in (*LABELS, *self.label_names) if name in inputs), None)
        likely = found.log_likelihood
        loss = None if likely is None else -likely.float().mean().to(self.args.device)
        if prediction_loss_only:
            return loss, None, None
        return loss, _table(found).to(self.args.device), labels

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the terms of the ELBO to the logs of the training."""
        if "loss" in logs:
            logs.update(self.adaptation.terms())
        super().log(logs, *args, **kwargs)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: the trainer's describes a network, and what is saved here is no network."""

    def push_to_hub(self, *_: Any, **__: Any) -> None:
        """Refuse.

        Raises:
            ConfigError: always; it says what to call.
        """
        raise ConfigError(f"push_to_hub: {REFUSED['push_to_hub'][1]}.")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write the state of the adaptation, once for all processes, in the place of a network."""
        if not self.args.should_save:
            return
        folder = self.args.output_dir if output_dir is None else output_dir
        os.makedirs(folder, exist_ok=True)
        torch.save(self.adaptation.state_dict(), os.path.join(folder, STATE))
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)
        torch.save(self.args, os.path.join(folder, "training_args.bin"))

    def _save_rng_state(self, output_dir: str) -> None:
        """Write random states; each process has noise of its own."""
        super()._save_rng_state(output_dir)
        torch.save(
            self.adaptation.state_dict()["noise"], os.path.join(output_dir, NOISE.format(self.args.process_index))
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Go on from the state that `_save` wrote.

        Raises:
            CheckpointError: there is none, or it is damaged, or of another adaptation.
        """
        path = os.path.join(resume_from_checkpoint, STATE)
        noise = os.path.join(resume_from_checkpoint, NOISE.format(self.args.process_index))
        if not os.path.isfile(path):
            raise CheckpointError(f"'{resume_from_checkpoint}' holds no state of a posterior: '{STATE}' is missing.")
        state = _read(path)
        if os.path.isfile(noise) and isinstance(state, dict):
            state["noise"] = _read(noise)
        self.adaptation.load_state_dict(state)

    def _load_best_model(self) -> None:
        """Go back to the checkpoint that was best."""
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _text_tokenizer(self) -> Any:
        """Return what reads texts, where the trainer has something: a tokenizer, or that of a processor."""
        found = getattr(self.processing_class, "tokenizer", self.processing_class)
        return found if hasattr(found, "pad_token_id") else None


def _read(path: str) -> Any:
    """Return what a file of a checkpoint holds.

    Raises:
        CheckpointError: it can't be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # What a damaged archive raises depends on where it is damaged.
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(
            f"'{path}' is damaged ({why:.200}): resume from another checkpoint, or start anew."
        ) from None


def _length(data: Any) -> int:
    """Return N.

    Raises:
        DataError: it is not known.
    """
    try:
        return len(data)
    except TypeError:
        raise DataError(
            "train_dataset has no length, and the number of examples weighs the data against the prior: pass data_size=."
        ) from None


def _table(found: Prediction) -> Tensor:
    """Return what a prediction says of each example: averaged probabilities, a mean, or the log-probability of a text."""
    for name in ("probs", "mean", "log_probs"):
        if isinstance(value := getattr(found, name, None), Tensor):
            return value.float()
    raise ConfigError(f"a trainer can't gather a {type(found).__name__}: call posterior().predict(data) instead.")
