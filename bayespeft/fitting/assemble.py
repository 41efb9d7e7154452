"""From what the user named to what inference needs: method, likelihood, layers, stacks, the joint guide, attached hooks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from bayespeft import registry
from bayespeft.adapters.attach import Attachment, Placement, check_unadapted, mode
from bayespeft.adapters.base import Adapter
from bayespeft.adapters.head import Head
from bayespeft.adapters.subspace import Subspace
from bayespeft.config import Targets, TrainConfig
from bayespeft.data.columns import GENERATED, Row, missing_labels
from bayespeft.data.examples import Examples
from bayespeft.data.sample import Sample
from bayespeft.data.source import Source
from bayespeft.errors import ConfigError, DataError, GuideError
from bayespeft.fitting.assembly import Assembly
from bayespeft.fitting.given_outputs import check_given_outputs
from bayespeft.fitting.orders import orders
from bayespeft.fitting.playing import in_use, playing
from bayespeft.fitting.stacking import Restacking, make_stacks
from bayespeft.fitting.start import start_placements, start_stacks, started_at
from bayespeft.fitting.units import in_units_of
from bayespeft.guides.base import GuideSpec
from bayespeft.layers.fingerprint import fingerprint
from bayespeft.layers.heads import find_fresh, fresh_parameters, warn_of_random
from bayespeft.layers.merged import Merged, check_untied, times_merged
from bayespeft.layers.network import eager
from bayespeft.layers.targets import find_layers
from bayespeft.layers.versions import versions
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.class_weight import ClassWeight
from bayespeft.likelihoods.inputs import as_examples, check_reader
from bayespeft.likelihoods.regression import Regression
from bayespeft.methods.base import Method
from bayespeft.networks.configuration import setting
from bayespeft.networks.embeddings import fresh_tokens, output_embedding
from bayespeft.posterior.posterior import Posterior
from bayespeft.prediction.uneven import settled
from bayespeft.training.coordinates import measured
from bayespeft.training.gradients import check_gradients
from bayespeft.training.problem import Problem
from bayespeft.utils.warned import warn
from bayespeft.variational.joint_guide import JointGuide
from bayespeft.variational.probe import probe

# So many rows, fewer in a smaller batch, show how the network works.
FIRST = 8


@contextmanager
def assemble(
    model: nn.Module,
    source: Source,
    method: Method,
    *,
    tokenizer: Any = None,
    likelihood: str | Likelihood | None = None,
    class_weight: ClassWeight | None = None,
    targets: str | Sequence[str] | Targets | None = None,
    seed: int = 0,
    start: Posterior | None = None,
    size: int | None = None,
) -> Iterator[Assembly]:
    """Attach a method to a network for the length of a `with` block; arguments and errors as `bayespeft.fit`.

    With `size` the data are some of so many examples, the rest of which somebody else reads.
    """
    if torch.is_inference_mode_enabled():
        raise ConfigError("fitting needs gradients, and torch.inference_mode() is on: call it outside of that block.")
    named = start.likelihood if likelihood is None and start is not None else likelihood
    rows = source.raw_rows
    likely = choose_likelihood(named, model, rows)
    likely = likely if class_weight is None else likely.with_class_weight(class_weight)
    check_reader(rows, tokenizer, likely)
    chosen = likely.resolve(model, tokenizer, rows).named(source.class_names)
    check_likelihood(chosen, method)
    told_apart(model, tokenizer)
    examples = as_examples(source, chosen, tokenizer, model)
    examples = examples if size is None else Sample(examples, size)
    check_unadapted(model)
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    with eager():
        chosen, examples = settled(model, chosen, examples, device)
    first = next(iter(examples.batches(min(FIRST, method.train.batch_size)))).to(device)
    idle = frozenset[str]() if start is None else start.idle
    random = fresh_parameters(model)
    if start is None:
        if times_merged(model):
            raise ConfigError(
                "an earlier fit merged into this network's weights, so that they are no base that could be loaded again. Load "
                "the network anew, fit on the copy that posterior.merged_model() returns, pass start=, or give the adapter of "
                "the earlier fit keep_original=True."
            )
        fresh = find_fresh(model) if chosen.trains_head else []
        method = method.replace(targets=as_targets(targets).over(method.targets))
        layers = find_layers(model, method.targets, taken=sorted(layer.name for layer in fresh))
        with eager(), mode(model):
            own = in_use(fresh, lambda: chosen.logits(model, next(first.parts(1)))) if fresh else []
            check_given_outputs(model, chosen, next(first.parts(2)))
            layers = playing(layers, method.targets, lambda: chosen.logits(model, next(first.parts(2))))
        idle = frozenset(layer.name for layer in fresh) - {head.name for head in own}
        warn_of_random(model, {layer.name for layer in fresh})
        # What gives the outputs starts at none, unless somebody trained it; layers before it must let something through.
        last = {head.name for head in own[-1:] if f"{head.name}.weight" in random}
        chosen = in_units_of(chosen, model, examples, device, seed, fresh=bool(last))
        placements = tuple(Placement(s, method.adapter) for s in layers)
        placements += tuple(Placement(head, Head(fresh=head.name in last), head=True) for head in own)
    else:
        chosen = chosen.in_units_of(start.likelihood) if isinstance(chosen, Regression) else chosen
        placements, begun = start_placements(start, model, method)
        # What the method says of itself is what was fitted.
        method = method.replace(adapter=next(p.adapter for p in placements if not p.head))

    with eager(), mode(model):
        modules = {p.layer.name: p.layer.module for p in placements}
        order = orders(modules, lambda batch: chosen.logits(model, batch), first)
    placements = tuple(replace(p, order=order[p.layer.name]) for p in placements)

    begin = time.perf_counter()
    if start is None:
        stacks = make_stacks(placements, method, generator)
        stacks = measured(stacks, placements, model, chosen, examples, seed)
    else:
        stacks = started_at(start_stacks(placements, method, generator, start), start, begun)
    seconds = time.perf_counter() - begin
    joint_guide = JointGuide(stacks, method.guide, generator, device)
    heads = {p.layer.name for p in placements if p.head}
    base = fingerprint(model, exclude=heads | idle) if start is None else start.base
    written = versions(model) if start is None else start.versions
    merged = start.merged if start is not None else merging(model, placements)
    if start is None and merged is not None:
        check_merging(model, placements, method)
    with Attachment(placements, merged) as attachment:
        apart = joint_guide.stochastic and (joint_guide.noise != "batch" or not method.guide.variational)
        classes = probe(model, attachment, stacks, chosen, first, apart)
        chosen.check_outputs(classes)
        check_labels(examples, chosen, classes)
        chosen = chosen.weighing(examples, classes)
        if method.guide.curved:
            # A likelihood without it is refused now, because the guide asks for it only after the training.
            chosen.curvature_root(torch.zeros(1, classes), None, torch.zeros(1, classes, 1))
        problem = Problem(
            model,
            attachment,
            joint_guide,
            chosen,
            device,
            classes,
            examples=examples,
            train=method.train,
            seed=seed,
            restacking=Restacking(placements, method),
            started=start is not None,
            random=frozenset(name.removesuffix(".weight") for name in random if name.endswith(".weight")),
        )
        if start is None or method.guide.differentiates:
            check_gradients(problem, next(first.parts(2)))
        yield Assembly(problem, method, placements, classes, base, written, seconds, idle)


def as_targets(targets: str | Sequence[str] | Targets | None) -> Targets:
    """Return targets as settings, whatever form the user chose: names mean those in every block, None says nothing.

    "last-3" means the layers that the method names, in the last three blocks.
    """
    if targets is None:
        return Targets()
    if isinstance(targets, str) and (last := re.fullmatch(r"last-([1-9]\d*)", targets)):
        return Targets(layers=(-int(last[1]), -1))
    if isinstance(targets, Targets):
        return targets
    return Targets(modules=targets if isinstance(targets, str) else list(targets), layers=None, exclude=[])


def choose_method(guide: str | Method | GuideSpec, adapter: str | Adapter | None, train: TrainConfig) -> Method:
    """Return the method that a name, a guide or a method stands for, with the user's adapter and settings in place."""
    if isinstance(guide, GuideSpec):
        base: Method = registry.get("methods", "melora")
        method = base.replace(guide=guide, name="custom")
    else:
        method = guide if isinstance(guide, Method) else registry.get("methods", guide)
    method = method.replace(train=train.over(method.train))
    if adapter is not None:
        chosen = adapter if isinstance(adapter, Adapter) else registry.get("adapters", adapter)()
        method = method.replace(adapter=chosen, title=f"{method.title}, {chosen.kind} adapter")
    if isinstance(guide, GuideSpec):
        method = method.replace(title=f"{guide.kind} over {method.adapter.kind}")
    return method


def choose_likelihood(
    likelihood: str | Likelihood | None, model: nn.Module, rows: Sequence[Row] | None = None
) -> Likelihood:
    """Return the likelihood that was named, or the one for the network's type and the columns of rows."""
    if isinstance(likelihood, Likelihood):
        return likelihood
    chosen: Likelihood = registry.get("likelihoods", likelihood or _usual(model, rows))()
    return chosen


def _usual(model: nn.Module, rows: Sequence[Row] | None) -> str:
    """Return the name of the likelihood that a network's type and the columns of rows ask for."""
    problem = setting(model, "problem_type")
    if output_embedding(model) is not None:
        writes = rows is not None and any(name in rows[0] for name in GENERATED)
        return "language_modelling" if writes else "label_tokens"
    if "ForTokenClassification" in type(model).__name__:
        return "token_classification"
    if problem == "multi_label_classification":
        return "multi_label"
    # One output is a regression to transformers too.
    measures = problem == "regression" or setting(model, "num_labels") == 1
    return "regression" if measures else "sequence_classification"


def check_likelihood(likelihood: Likelihood, method: Method) -> None:
    """Check, before training, that a method can work with what a likelihood offers.

    Raises:
        ConfigError: it works with probabilities of classes and would get densities; or it predicts with the network
            linearised, and the likelihood can't.
    """
    if method.temperature and likelihood.discrete and not likelihood.tempers:
        raise ConfigError(
            f"method '{method.name}' divides logits of classes by a temperature, and likelihood '{likelihood.kind}' has none: "
            "take another method, such as mle."
        )
    if not likelihood.linearises and method.predicts == "linearised":
        raise ConfigError(
            f"method '{method.name}' predicts with the network linearised, which likelihood '{likelihood.kind}' can't: take a "
            "variational method such as melora, or method.replace(prediction='sampled')."
        )
    if likelihood.discrete or not (method.guide.discrete or method.temperature):
        return
    what = "divides logits by a temperature" if method.temperature else "goes by a relative rise of the NLL"
    raise ConfigError(
        f"method '{method.name}' {what}, which means nothing for likelihood '{likelihood.kind}', whose outputs are quantities "
        "and whose NLL depends on their units. Take a variational method such as melora, or a Laplace approximation."
    )


def merging(model: nn.Module, placements: Sequence[Placement]) -> Merged | None:
    """Return where merges into the network's own weights are kept account of; None where the adapters never merge."""
    if all(p.adapter.merge_interval(1) is None for p in placements):
        return None
    merged = Merged(model)
    merged.keep_original([p.layer for p in placements if isinstance(p.adapter, Subspace) and p.adapter.keep_original])
    return merged


def check_merging(model: nn.Module, placements: Sequence[Placement], method: Method) -> None:
    """Check that a fit can merge into the network's own weights while it trains.

    Raises:
        GuideError: the guide can't go on after a merge. AttachError: a layer shares its weight with another module.
    """
    if not method.guide.restarts:
        raise GuideError(
            f"adapter '{method.adapter.kind}' merges into the weights while it trains, which guide '{method.guide.kind}' can't "
            "follow. Fit a point (guide='mle') and build on it with start=, set the adapter's every=None, or use mean_field."
        )
    check_untied(model, [p.layer for p in placements if p.adapter.merge_interval(1) is not None])


def told_apart(model: nn.Module, tokenizer: Any) -> None:
    """Warn of tokens whose embeddings are all alike, since no adapter trains an embedding."""
    fresh = fresh_tokens(model, tokenizer)
    if fresh:
        warn(
            f"the embeddings of {len(fresh)} tokens of the tokenizer, such as {fresh[0]!r}, look as resize_token_embeddings "
            "makes them: all alike. Adapters train no embeddings, so the network goes on not telling these tokens apart. Train "
            "them first, or set their rows of model.get_input_embeddings().weight to those of words that mean the same.",
        )


def check_labels(examples: Examples, likelihood: Likelihood, classes: int) -> None:
    """Check that training data has labels, in range."""
    labels = examples.labels()
    whole = labels is not None
    if labels is None:
        batch = next(iter(examples.batches(1)))
        if batch.labels is None:
            raise DataError(
                f"{missing_labels('training')} If rows have it under another name, pass columns={{'label': that name}}."
            )
        labels = batch.labels
    likelihood.check_labels(labels, classes)
    if not isinstance(examples, Sample):
        likelihood.advise(labels, whole)
