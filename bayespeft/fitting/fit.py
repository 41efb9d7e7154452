"""`fit` and `load`: resolve what the user named, attach, infer, hand back a `Posterior`. No mathematics here."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Gt

from bayespeft.adapters.attach import Placement
from bayespeft.adapters.base import Adapter
from bayespeft.config import Targets, TrainConfig
from bayespeft.data.examples import Examples
from bayespeft.errors import CheckpointError, ConfigError, DataError, FileError
from bayespeft.fitting.assemble import Assembly, assemble, choose_method, merging
from bayespeft.fitting.packing import blank_packs
from bayespeft.fitting.start import check_start
from bayespeft.guides.base import GuideSpec
from bayespeft.io import checkpoint
from bayespeft.io.directory import check_writable
from bayespeft.io.fingerprint import check_fingerprint, digest, fingerprint
from bayespeft.io.savable import check_savable
from bayespeft.layers.network import bare
from bayespeft.layers.sites import all_sites
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.inputs import as_examples
from bayespeft.methods.base import Method
from bayespeft.posterior.fitted import CENTER, MERGED, centers_are_saved
from bayespeft.posterior.posterior import Posterior
from bayespeft.prediction.predictor import Predictor
from bayespeft.prediction.uneven import settled_for
from bayespeft.training.held_out import check_free, run_free
from bayespeft.training.history import History
from bayespeft.training.loop import run
from bayespeft.training.problem import Problem
from bayespeft.training.progress import ProgressBar
from bayespeft.training.resume import Checkpoint
from bayespeft.training.warmup import warmed_up
from bayespeft.utils.checks import ELSEWHERE, Count, Network, Seed, Tokenizer, check, checked
from bayespeft.utils.device import find_device
from bayespeft.utils.files import locked
from bayespeft.utils.memory import PeakMemory
from bayespeft.utils.randomness import seeded
from bayespeft.utils.threads import alone
from bayespeft.variational.approximation import Approximation

VALIDATION_DRAWS = 5


@checked
@alone()
def fit(
    model: Network,
    data: Any,
    guide: str | Method | GuideSpec = "melora",
    *,
    tokenizer: Tokenizer = None,
    adapter: str | Adapter | None = None,
    likelihood: str | Likelihood | None = None,
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
        data: rows with `text`, [`text_pair`], `label`; with `question`, `choices`, `answer`; or, for texts to write, with
            `source`, `target`, with `prompt`, `completion`, or with `messages`, which the tokenizer's chat template writes and
            of which the assistant's are learned (all need `tokenizer`); rows with `input_ids`, `labels` and whatever else the
            network's forward takes (`attention_mask`, `bbox`, ...); a Hugging Face `Dataset` of any of these; a `DataLoader`
            of batch dicts or of (x, y), which is read in its own kind of order, by `seed`, and left as it is; a pair (x, y)
            of tensors, arrays of NumPy or frames of pandas; or the name of a data set (its training split).
        guide: the name of a method (see `bayespeft.methods()`), a `Method`, or a guide such as `MeanField(...)`, which
            then takes the place of Me-LoRA's.
        tokenizer: for rows that are still text.
        adapter: overrides the method's adapter.
        likelihood: overrides the choice by the network's type (or by `start`): "sequence_classification", "label_tokens",
            or "regression" for labels that are quantities; `Regression(noise=...)` says how much they scatter.
        targets: which layers; see `Targets`. What is left out comes from the method.
        train: settings; what is left out comes from the method. Most methods decide the number of steps by rows that they
            hold out, and then fit all rows: see `bayespeft.training.held_out`; `history.ended` says what was decided.
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
            there, and on the same machine ends bit-equal to one that was never interrupted. It serves one fit at a time.
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
    checkpoints: list[Checkpoint] = []

    @cache
    def base() -> str:
        """Hash the network once, before the first run: later runs may have merged into the weights."""
        # A head may be fresh; where training begins it stands in its pack.
        heads = {site for pack in assembly.problem.packs if pack.role == "head" for site in pack.sites}
        found = fingerprint(model, exclude=heads, whole=True)
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()

    @cache
    def held() -> Examples | None:
        return _validation(assembly.problem, validation, tokenizer)

    digests = cache(Examples.digest)

    def once(problem: Problem, part: str = "", **options: Any) -> History:
        watcher = ProgressBar(f"{method.title}{part and f', {part}'}") if progress else None
        if checkpoint is not None:
            path = Path(checkpoint) / f"run-{len(checkpoints)}.pt"
            judges = held()
            data = [digests(problem.examples), None if judges is None else digests(judges)]
            key = _key(problem, method, base(), data)
            options["checkpoint"] = Checkpoint(path, checkpoint_every, key)
            checkpoints.append(options["checkpoint"])
        return run(problem, watcher, **options)

    def optimiser(problem: Problem, **options: Any) -> History:
        judges = held()
        if isinstance(problem.train.steps, str):
            check_free(problem, options)
            return run_free(problem, once, judges)
        return once(problem, validate=None if judges is None else _validator(problem, judges), **options)

    with ExitStack() as safe:
        if checkpoint is not None:
            safe.enter_context(_claimed(checkpoint))
        with (
            seeded(seed),
            assemble(
                model,
                data,
                method,
                tokenizer=tokenizer,
                likelihood=likelihood,
                targets=targets,
                seed=seed,
                start=start,
                optimiser=optimiser,
            ) as assembly,
        ):
            problem = assembly.problem
            _warn_of_loss(assembly)
            merged = problem.attachment.merged
            if merged is not None:
                safe.enter_context(merged.undone_on_error())
            begin = time.perf_counter()
            with PeakMemory(problem.device) as memory:
                problem = warmed_up(problem, assembly.method.guide)
                history: History = problem.approximation.latent.fit(problem)
            # All that fitting takes, not the loop alone: decompositions, curvature, searches, several members, and the time of
            # processes that were killed.
            history.seconds = assembly.seconds + time.perf_counter() - begin + sum(c.carried for c in checkpoints)
            history.refresh_seconds += assembly.seconds
            history.peak_memory_bytes = memory.peak
        posterior = Posterior(
            model,
            assembly.method,
            assembly.placements,
            problem.approximation,
            problem.likelihood,
            history,
            assembly.classes,
            seed,
            tokenizer,
            merged=merged,
            base=assembly.base,
            idle=assembly.idle,
        )
        if method.temperature:
            return posterior.with_temperature(validation, seed=seed)
        # A spread that was found after training would ask for another temperature than the point's.
        if history.ended is not None and not method.guide.variational:
            history.ended = replace(history.ended, temperature=None)
        found = None if history.ended is None else history.ended.temperature
        return posterior if found is None else replace(posterior, temperature=found)


@checked
@alone()
def load(directory: str | os.PathLike[str], model: Network, *, tokenizer: Tokenizer = None) -> Posterior:
    """Read a posterior that `Posterior.save` wrote, onto the base network that it was fitted on.

    Args:
        directory: where it was saved.
        model: the same base network; freshly made layers (a head, a pooler that the checkpoint lacks) may differ, since the
            posterior brings its own.
        tokenizer: for data that is still text.

    Raises:
        CheckpointError: files are missing or damaged, or the network is another one.
    """
    model = bare(model)
    tensors, settings = checkpoint.read(directory)
    try:
        method = Method(**settings["method"])
        likelihood = Likelihood.model_validate(settings["likelihood"])
        adapters = {name: Adapter.model_validate(value) for name, value in settings["sites"].items()}
        history = History.from_dict(settings["history"])
        heads, classes, seed = set(settings["heads"]), settings["classes"], check("seed", settings["seed"], Seed)
        check("classes", classes, Count)
        idle = frozenset(settings["idle"])
        saved_fingerprint: dict[str, str] = settings["base"]["fingerprint"]
        temperature = check("temperature", settings["temperature"], Annotated[float, Gt(0)])
        steps: Any = settings.get("merged")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"the settings in '{directory}' can't be read: {error!r}.") from None
    sites = all_sites(model)
    missing = [name for name in adapters if name not in sites]
    if missing:
        raise CheckpointError(
            f"the saved posterior adapts layer '{missing[0]}', which {type(model).__name__} lacks; load the base that it "
            f"was fitted on ({settings['base']['name']})."
        )
    outputs = getattr(getattr(model, "config", None), "num_labels", classes)
    if heads and outputs != classes:
        raise CheckpointError(
            f"the posterior in '{directory}' is over {classes} classes, and this network has {outputs} outputs: load it with "
            f"num_labels={classes}."
        )
    check_fingerprint(saved_fingerprint, model, exclude=heads | idle)
    placements = tuple(Placement(sites[name], adapter) for name, adapter in adapters.items())
    generator = torch.Generator().manual_seed(seed)
    packs = blank_packs(placements, heads, method, generator)
    changes, centers = taken(tensors, MERGED), taken(tensors, CENTER)
    with seeded(seed):
        approximation = Approximation(packs, method.guide, generator, next(model.parameters()).device)
    _check_tensors(approximation.state_dict(), tensors, directory)
    approximation.load_state_dict(tensors, strict=True)
    places = approximation.center_buffers() if centers_are_saved(placements) else {}
    _check_tensors(places, centers, directory, CENTER)
    for name, place in places.items():
        place.copy_(centers[name])
    merged = merging(model, placements)
    if (merged is None) != (steps is None):
        raise CheckpointError(f"the posterior in '{directory}' lacks what was merged into the network's weights.")
    if merged is not None:
        # Last: it may change the network.
        with merged.applied(sites.values()):
            merged.redo(changes, steps, sites)
    return Posterior(
        model,
        method,
        placements,
        approximation,
        likelihood,
        history,
        classes,
        seed,
        tokenizer,
        temperature,
        merged,
        base=saved_fingerprint,
        idle=idle,
    )


def taken(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Take the tensors out whose names begin with a prefix, and return them without it."""
    return {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}


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


def _warn_of_loss(assembly: Assembly) -> None:
    """Say before training, not after it, that what comes of it can't be saved."""
    try:
        check_savable(assembly.method, assembly.problem.likelihood, (p.adapter for p in assembly.placements))
    except ConfigError as error:
        warnings.warn(f"the posterior of this fit can be used, but not saved: {error}", stacklevel=5)


def _key(problem: Problem, method: Method, base: str, data: list[str | None]) -> str:
    """Return what tells one training run from another, as a hash.

    Args:
        problem: what is fitted.
        method: the settings.
        base: a hash of the network's weights, every number of them.
        data: a hash of the training data, every number of it, and one of the validation data.
    """
    what = [
        method.model_dump(mode="json"),
        problem.train.model_dump(mode="json"),
        problem.likelihood.model_dump(mode="json"),
        {p.site.name: p.adapter.model_dump(mode="json") for p in problem.attachment.placements},
        {pack.name: [digest(pack.init, whole=True), digest(pack.center, whole=True)] for pack in problem.packs},
        problem.seed,
        base,
        data,
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _validation(problem: Problem, data: Any, tokenizer: Any) -> Examples | None:
    """Return validation data as examples with labels that are in range."""
    if data is None:
        return None
    examples = as_examples(data, problem.likelihood, tokenizer, problem.model, split="validation")
    examples = settled_for(problem.model, problem.likelihood, examples, problem.device)
    labels = examples.labels()
    if labels is None and next(iter(examples.batches(1))).labels is None:
        raise DataError("validation data needs labels: column 'label', 'labels' or 'answer' is missing.")
    if labels is not None and problem.classes is not None:
        problem.likelihood.check_labels(labels, problem.classes)
    return examples


def _validator(problem: Problem, examples: Examples) -> Callable[[], dict[str, float]]:
    def validate() -> dict[str, float]:
        predictor = Predictor(
            problem.model, problem.attachment, problem.approximation, problem.likelihood, problem.device
        )
        return predictor.run(examples, VALIDATION_DRAWS, problem.seed).validation_metrics()

    return validate


def _check_tensors(
    expected: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor], directory: Any, prefix: str = ""
) -> None:
    """Check that a file holds the tensors that are expected, in their shapes.

    Raises:
        CheckpointError: the message names the first that is missing, unknown or of another shape.
    """
    for name in sorted({*expected, *tensors}):
        if name not in tensors or name not in expected:
            which = "lacks" if name not in tensors else "has the unknown"
            raise CheckpointError(f"the posterior in '{directory}' {which} tensor '{prefix}{name}'.")
        if tensors[name].dtype != expected[name].dtype or not torch.isfinite(tensors[name]).all():
            raise CheckpointError(
                f"tensor '{prefix}{name}' in '{directory}' holds {tensors[name].dtype} where {expected[name].dtype} is "
                "needed, or values that are not finite."
            )
        if tensors[name].shape != expected[name].shape:
            raise CheckpointError(
                f"tensor '{prefix}{name}' in '{directory}' has shape {tuple(tensors[name].shape)}, this network needs "
                f"{tuple(expected[name].shape)}."
            )
