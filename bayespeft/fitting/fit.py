"""`fit`: resolve what the user named, attach, infer, hand back a `Posterior`. No mathematics here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch

from bayespeft.adapters.base import Adapter
from bayespeft.config import Targets, TrainConfig
from bayespeft.data.columns import missing_labels
from bayespeft.data.examples import Examples
from bayespeft.data.layout import Columns
from bayespeft.data.source import source_of
from bayespeft.errors import CheckpointError, ConfigError, DataError, FileError
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.fitting.assembly import Assembly
from bayespeft.fitting.start import check_start
from bayespeft.guides.base import GuideSpec
from bayespeft.io.directory import check_writable
from bayespeft.io.savable import check_savable
from bayespeft.layers.network import bare
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.class_weight import ClassWeight
from bayespeft.likelihoods.inputs import as_examples
from bayespeft.methods.base import Method
from bayespeft.posterior.posterior import Posterior
from bayespeft.prediction.uneven import settled_for
from bayespeft.training.problem import Problem
from bayespeft.training.resume import States
from bayespeft.training.trainer import Trainer
from bayespeft.training.warmup import warmed_up
from bayespeft.utils.annotations import ELSEWHERE, Count, Network, Reader, Seed
from bayespeft.utils.checks import checked
from bayespeft.utils.device import find_device
from bayespeft.utils.files import locked
from bayespeft.utils.memory import PeakMemory
from bayespeft.utils.processes import rank, world_size
from bayespeft.utils.randomness import seeded
from bayespeft.utils.threads import alone
from bayespeft.utils.warned import warn


@checked
@alone()
def fit(
    model: Network,
    data: Any,
    guide: str | Method | GuideSpec = "melora",
    *,
    tokenizer: Reader = None,
    columns: Columns | None = None,
    adapter: str | Adapter | None = None,
    likelihood: str | Likelihood | None = None,
    class_weight: ClassWeight | None = None,
    targets: str | Sequence[str] | Targets | None = None,
    train: TrainConfig = TrainConfig(),
    validation: Any = None,
    start: Annotated[Posterior | None, ELSEWHERE] = None,
    seed: Seed = 0,
    device: str | torch.device | None = None,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: Count = 200,
) -> Posterior:
    """Fit a posterior over adapter factors to data.

    The objective is E_q[NLL per example] + kl_weight * KL / N, in nats per example; with kl_weight = 1 it is -ELBO / N.
    The network's modules, weights, state-dict keys and modes are bit-equal before and after; no hook stays on it. Only an
    adapter that merges (`random_subspace`, `subspace_core`) changes weights in place, unless it keeps the original; if such a
    fit ends by an exception, the weights are bit-equal again.

    Args:
        model: a Hugging Face model, or any module that maps a tensor to logits (n, K), or to means (n, d) for a regression.
            `torch.compile`, `DataParallel` and `DistributedDataParallel` of one process are taken off: `posterior.model` is
            the network itself, and what is compiled runs module by module while adapters are on it.
        data: rows with `text`, [`text_pair`], `label`; with `tokens` (words) and `ner_tags`, `tags` or `labels` (one for each
            word); with `question`, `choices`, `answer`; or, for texts to write, with
            `source`, `target`, with `prompt`, `completion`, or with `messages`, which the tokenizer's chat template writes and
            of which the assistant's are learned (all need `tokenizer`); with `image` (of Pillow, an array, a path) or `audio`
            (`array` and `sampling_rate`), which a processor reads batch by batch, or with `pixel_values`, `input_values` or
            `input_features`; with `image`, `question`, `choices`, `answer`, which a processor of images and text reads; rows
            with `input_ids`, `labels` and whatever else the network's forward takes (`attention_mask`, `bbox`, ...); a
            Hugging Face `Dataset` or a data frame of pandas of any of these; a `DataLoader` of batch dicts or of (x, y),
            which is read in its own kind of order, by `seed`, and left as it is; a pair (x, y) of tensors, arrays of NumPy or
            frames of pandas; a `DatasetDict` or the name of a data set (its training split); or the path of a file of rows
            (.jsonl, .csv, .tsv, .parquet).
        guide: the name of a method (see `bayespeft.methods()`), a `Method`, or a guide such as `MeanField(...)`, which
            then takes the place of Me-LoRA's.
        tokenizer: for rows that are still text; for images and sounds, an image processor, a feature extractor or a processor.
        columns: which column of the rows is which, where they have names of their own: our name -> theirs, such as
            `{"text": "sentence", "label": "gold"}`. The usual names of the hub are understood without: see
            `bayespeft.data.layout`. The posterior remembers it for the data that it is given.
        adapter: overrides the method's adapter.
        likelihood: overrides the choice by the network's type (or by `start`): "sequence_classification", "label_tokens",
            "multi_label" for rows whose `label` lists the labels that are on (or has a 0 or 1 for each),
            "token_classification", or "regression" for labels that are quantities; `Regression(noise=...)` says how much
            they scatter.
        class_weight: for unbalanced classes, what the log-likelihood of each row is multiplied by, by its class: weights by
            name or number of the class (1 for those that are left out), one for each class in order, or "balanced",
            N / (K n_k). The objective is then E_q[sum_n w(y_n) NLL_n] + KL over N, as if a row were there w times; so
            weights that add up to more than N rows make a posterior that is surer than its data, which is warned of.
            Held-out rows that decide on length, prior and temperature count likewise; reports count each row once.
            Probabilities are those of a population in which class k is w_k times as frequent:
            `Posterior.with_prior_correction` gives those of the training data's own frequencies.
        targets: which layers; see `Targets`. What is left out comes from the method. "last-3": the method's, in the last three
            blocks; draws then share what lies below, so that ten cost as much as some three passes.
        train: settings; what is left out comes from the method. Most methods decide the number of steps, and
            whether the prior counts whole or a tenth, by rows that they hold out, and then fit all rows: see
            `bayespeft.training.held_out`; `history.ended` says what was decided. TrainConfig(kl_weight=1) keeps the ELBO.
        validation: data whose NLL and accuracy (for a regression: RMSE) are computed while training, into `history`. A
            method that leaves its length to the run (`steps="auto"`, as most do) goes by them in the place of rows that
            it holds out of `data` itself; so they are no test data. One with `temperature` fits its temperature to them.
        start: a fitted posterior over the same network whose means are the initial values; its layers, ranks and scales
            are taken over, its temperature is not. Post-hoc methods (laplace_lora, tfb, ...) then train nothing and build on
            it, whether it was fitted here or imported by `import_lora`; the others, `temperature` among them, train on from
            there (`Posterior.with_temperature` fits a temperature alone).
        seed: of initial values, data order, noise and draws.
        device: move the network there first; by default it stays where it is.
        progress: show a progress bar on standard error.
        checkpoint: a directory for the state of the training. If it holds that of the same fit, training goes on from
            there, and on the same machine with as many threads ends bit-equal to one that was never interrupted; elsewhere it
            goes on from the same numbers (see the guide on threads for how near). It serves one fit at a time.
            SIGINT (Ctrl-C) and SIGTERM finish the step, write the state, say so, and end with KeyboardInterrupt or
            SystemExit(143); a second one does not wait.
        checkpoint_every: optimiser steps between two such states.

    Returns:
        The posterior.

    Raises:
        UnknownNameError, ConfigError: a name or a setting can't be used. TargetError: no such layers. AttachError: an
        adapter would not act on them properly, or the network is sharded, offloaded, or carries adapters already. DataError:
        the data can't be used. FitError: the loss became infinite.
    """
    model = bare(model)
    _warn_of_processes()
    method = choose_method(guide, adapter, train)
    check_start(start, adapter)
    if device is not None:
        model.to(find_device(device))

    if method.temperature and validation is None:
        raise DataError(
            f"method '{method.name}' fits a temperature to data that training has not seen: pass validation= "
            "(--validation-split on the command line)."
        )

    if checkpoint is not None and not method.guide.resumable:
        raise ConfigError(
            f"guide '{method.guide.kind}' keeps a state of its own while it trains, which a checkpoint does not hold: leave "
            "checkpoint= out."
        )
    if checkpoint is not None:
        check_writable(checkpoint)

    with ExitStack() as safe:
        if checkpoint is not None:
            safe.enter_context(_claimed(checkpoint))
        with (
            seeded(seed),
            assemble(
                model,
                (source := source_of(data, "train", columns, None if start is None else start.columns)),
                method,
                tokenizer=tokenizer,
                likelihood=likelihood,
                class_weight=class_weight,
                targets=targets,
                seed=seed,
                start=start,
            ) as assembly,
        ):
            problem = assembly.problem
            _warn_if_unsavable(assembly)
            merged = problem.attachment.merged
            if merged is not None:
                safe.enter_context(merged.undone_on_error())
            judges = _validation(problem, validation, tokenizer, source.columns)
            begun = "" if start is None else start._digest()
            states = None if checkpoint is None else States(checkpoint, checkpoint_every, method, model, begun)
            begin = time.perf_counter()
            with PeakMemory(problem.device) as memory:
                problem = warmed_up(problem, assembly.method.guide)
                trainer = Trainer(problem, method.title if progress else None, judges, states)
                history = trainer.fit()
            # All that fitting takes, not the loop alone: decompositions, curvature, searches, several members, and the time of
            # processes that were killed.
            history.seconds = assembly.seconds + time.perf_counter() - begin + (states.carried if states else 0.0)
            history.refresh_seconds += assembly.seconds
            history.peak_memory_bytes = memory.peak
        posterior = assembly.posterior(problem.joint_guide, problem.likelihood, history, tokenizer, source.columns)
        if method.temperature:
            return posterior.with_temperature(judges, seed=seed)
        # A spread that was found after training would ask for another temperature than the point's.
        if history.ended is not None and not method.guide.variational:
            history.ended = replace(history.ended, temperature=None)
        found = None if history.ended is None else history.ended.temperature
        return posterior if found is None else replace(posterior, temperature=found)


def _warn_of_processes() -> None:
    """Warn where a launcher has started several processes, which do not share a fit."""
    if world_size() > 1:
        warn(
            f"this is process {rank()} of {world_size()}, and fit trains in one: each process that calls it fits a posterior "
            "of its own to all of the data that it is given. To train one posterior in all of them, take bayespeft.adapt and "
            "wrap adaptation.module in DistributedDataParallel (or prepare it with accelerate), or take "
            "bayespeft.integrations.BayesTrainer.",
        )


@contextmanager
def _claimed(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Have a directory of states for one fit alone.

    Raises:
        CheckpointError: another process has it, or it can't be made.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(Path(directory), wait=False))
        except FileError as error:
            raise CheckpointError(f"checkpoint: {error}") from None
        yield


def _warn_if_unsavable(assembly: Assembly) -> None:
    """Say before training, not after it, that what comes of it can't be saved."""
    try:
        check_savable(assembly.method, assembly.problem.likelihood, [p.adapter for p in assembly.placements])
    except ConfigError as error:
        warn(f"the posterior of this fit can be used, but not saved: {error}")


def _validation(problem: Problem, data: Any, tokenizer: Any, columns: Columns) -> Examples | None:
    """Return validation data as examples with labels that are in range."""
    if data is None:
        return None
    examples = as_examples(
        source_of(data, "validation", remembered=columns), problem.likelihood, tokenizer, problem.model
    )
    examples = settled_for(problem.model, problem.likelihood, examples, problem.device)
    labels = examples.labels()
    if labels is None and next(iter(examples.batches(1))).labels is None:
        raise missing_labels("validation data")
    if labels is not None and problem.classes is not None:
        problem.likelihood.check_labels(labels, problem.classes)
    return examples
