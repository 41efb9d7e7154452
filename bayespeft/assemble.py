"""From what the user named to what inference needs: method, likelihood, layers, packs, approximation, attached hooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft import registry
from bayespeft.adapters.base import Adapter
from bayespeft.adapters.full import Full
from bayespeft.adapters.subspace import Subspace
from bayespeft.attach import Attachment, Placement, check_unadapted
from bayespeft.config import Targets, TrainConfig
from bayespeft.data.examples import Examples
from bayespeft.data.load import load as load_rows
from bayespeft.data.prepare import raw_rows
from bayespeft.errors import ConfigError, DataError, GuideError
from bayespeft.factors import Factor, Pack, Role, pack
from bayespeft.guides.base import GuideSpec
from bayespeft.inference.approximation import Approximation
from bayespeft.inference.history import History
from bayespeft.inference.probe import probe
from bayespeft.inference.problem import Problem
from bayespeft.inputs import as_examples
from bayespeft.io.fingerprint import fingerprint
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.merged import Merged, check_untied, times_merged
from bayespeft.methods.base import Method
from bayespeft.posterior import Posterior
from bayespeft.priors.base import Prior
from bayespeft.sites import find_head, find_sites


@dataclass(frozen=True)
class Assembly:
    """A problem whose hooks are on, and what a posterior needs besides.

    Attributes:
        problem: what is fitted.
        method: with the user's settings in place.
        placements: which adapter sits on which layer.
        classes: outputs of the likelihood.
        base: the network's fingerprint.
        seconds: that choosing the factors took, decompositions of weights included.
    """

    problem: Problem
    method: Method
    placements: tuple[Placement, ...]
    classes: int
    base: dict[str, str]
    seconds: float


@contextmanager
def assemble(
    model: nn.Module,
    data: Any,
    method: Method,
    *,
    tokenizer: Any = None,
    likelihood: str | Likelihood | None = None,
    targets: str | Sequence[str] | Targets | None = None,
    seed: int = 0,
    start: Posterior | None = None,
    optimiser: Callable[..., History],
) -> Iterator[Assembly]:
    """Attach a method to a network for the length of a `with` block; arguments and errors as `bayespeft.fit`."""
    data = load_rows(data, "train") if isinstance(data, str) else data
    named = start.likelihood if likelihood is None and start is not None else likelihood
    chosen = choose_likelihood(named, model).resolve(model, tokenizer, raw_rows(data))
    check_likelihood(chosen, method)
    examples = as_examples(data, chosen, tokenizer, split="train")
    check_unadapted(model)
    generator = torch.Generator().manual_seed(seed)
    if start is None:
        if times_merged(model):
            raise ConfigError(
                "an earlier fit merged into this network's weights, so that they are no base that could be loaded again. Load "
                "the network anew, fit on the copy that posterior.merged_model() returns, pass start=, or give the adapter of "
                "the earlier fit keep_original=True."
            )
        own = find_head(model) if chosen.trains_head else []
        heads = {head.name for head in own}
        method = method.replace(targets=as_targets(targets).over(method.targets))
        sites = find_sites(model, method.targets, exclude=sorted(heads))
        placements = tuple(Placement(s, method.adapter) for s in sites) + tuple(Placement(h, Full()) for h in own)
    else:
        heads = start.heads
        placements = start_placements(start, model, method)
        # What the method says of itself is what was fitted.
        method = method.replace(adapter=next(p.adapter for p in placements if p.site.name not in heads))

    def packs_of(seed: int) -> list[Pack]:
        return make_packs(placements, heads, method, torch.Generator().manual_seed(seed))

    begin = time.perf_counter()
    if start is None:
        packs = make_packs(placements, heads, method, generator)
    else:
        packs = started_at(start_packs(placements, heads, method, generator, start), start)
    seconds = time.perf_counter() - begin
    device = next(model.parameters()).device
    approximation = Approximation(packs, method.guide, generator, device)
    base = fingerprint(model, exclude=heads) if start is None else start.base
    merged = start.merged if start is not None else merging(model, placements)
    if start is None and merged is not None:
        check_merging(model, placements, method)
    with Attachment(placements, merged) as attachment:
        first = next(iter(examples.batches(1))).to(device)
        apart = approximation.stochastic and (approximation.noise != "batch" or not method.guide.variational)
        classes = probe(model, attachment, packs, chosen, first, apart)
        check_labels(examples, chosen, classes)
        problem = Problem(
            model,
            attachment,
            approximation,
            chosen,
            examples,
            method.train,
            device,
            seed,
            optimiser,
            classes,
            packs_of,
            started=start is not None,
        )
        yield Assembly(problem, method, placements, classes, base, seconds)


def as_targets(targets: str | Sequence[str] | Targets | None) -> Targets:
    """Return targets as settings, whatever form the user chose: names mean those in every block, None says nothing."""
    if targets is None:
        return Targets()
    if isinstance(targets, Targets):
        return targets
    return Targets(modules=targets if isinstance(targets, str) else list(targets), layers=None)


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


def choose_likelihood(likelihood: str | Likelihood | None, model: nn.Module) -> Likelihood:
    """Return the likelihood that was named, or the one for the network's type."""
    if isinstance(likelihood, Likelihood):
        return likelihood
    if likelihood is None:
        getter = getattr(model, "get_output_embeddings", None)
        speaks = callable(getter) and getter() is not None
        config = getattr(model, "config", None)
        # One output is a regression to transformers too.
        measures = getattr(config, "problem_type", None) == "regression" or getattr(config, "num_labels", None) == 1
        likelihood = "label_tokens" if speaks else "regression" if measures else "sequence_classification"
    chosen: Likelihood = registry.get("likelihoods", likelihood)()
    return chosen


def check_likelihood(likelihood: Likelihood, method: Method) -> None:
    """Check, before training, that a method can work with what a likelihood offers.

    Raises:
        ConfigError: it works with probabilities of classes and would get densities; or it predicts with the network
            linearised, and the likelihood can't.
    """
    if method.temperature and likelihood.discrete and not isinstance(likelihood, Categorical):
        raise ConfigError(
            f"method '{method.name}' divides logits of classes by a temperature, and likelihood '{likelihood.kind}' has none: "
            "take another method, such as mle."
        )
    if not likelihood.linearises and (method.prediction or method.guide.prediction) == "linearised":
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
    merged.keep_original(p.site for p in placements if isinstance(p.adapter, Subspace) and p.adapter.keep_original)
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
    check_untied(model, [p.site for p in placements if p.adapter.merge_interval(1) is not None])


def make_packs(
    placements: Sequence[Placement], heads: set[str], method: Method, generator: torch.Generator
) -> list[Pack]:
    """Return the packs of all placements, at their start; those in `heads` are heads."""
    return _packed({p.site.name: p.adapter.factors(p.site, generator) for p in placements}, heads, method)


def blank_packs(
    placements: Sequence[Placement], heads: set[str], method: Method, generator: torch.Generator
) -> list[Pack]:
    """Return packs as `make_packs` does, of any values where an adapter decomposes: a file is read into them."""
    return _packed({p.site.name: p.adapter.blank(p.site, generator) for p in placements}, heads, method)


def start_packs(
    placements: Sequence[Placement], heads: set[str], method: Method, generator: torch.Generator, start: Posterior
) -> list[Pack]:
    """Return packs as `make_packs` does, of any values where an adapter decomposes and the start has all of its factors."""
    there: dict[str, set[str]] = {}
    for known in start.approximation.packs:
        for site in known.sites:
            there.setdefault(site, set()).add(known.factor)

    def factors(p: Placement) -> Mapping[str, Factor]:
        if p.adapter.decomposes and (blank := p.adapter.blank(p.site, generator)).keys() <= there.get(
            p.site.name, set()
        ):
            return blank
        return p.adapter.factors(p.site, generator)

    return _packed({p.site.name: factors(p) for p in placements}, heads, method)


def _packed(factors: Mapping[str, Mapping[str, Factor]], heads: set[str], method: Method) -> list[Pack]:
    """Return packs of factors, site -> name -> factor, under the method's priors; the sites in `heads` are heads."""
    priors: Mapping[Role, Prior] = {
        "latent": method.latent_prior,
        "point": method.point_prior,
        "fixed": method.point_prior,
        "head": method.head_prior,
    }
    # A fresh head has no pretrained value to be believed in: its prior is centered at zero.
    fresh = {
        site: {name: replace(factor, role="head", center=None) for name, factor in factors[site].items()}
        for site in factors.keys() & heads
    }
    return pack({**factors, **fresh}, priors)


def check_start(start: Posterior | None, adapter: str | Adapter | None) -> None:
    """Check that a start is a posterior, and that an adapter named beside it says nothing else.

    Raises:
        ConfigError: it is none, or it does.
    """
    if start is None:
        return
    if not isinstance(start, Posterior):
        raise ConfigError(f"start={start!r} must be a posterior, from fit, load or import_lora.")
    if isinstance(adapter, Adapter):
        for placement in start.placements:
            there = placement.adapter
            wrong = [
                n for n in adapter.model_fields_set if n != "latent" and getattr(there, n, None) != getattr(adapter, n)
            ]
            if placement.site.name not in start.heads and wrong:
                raise ConfigError(
                    f"adapter= has {wrong[0]}={getattr(adapter, wrong[0])!r}, but start= brings "
                    f"{getattr(there, wrong[0], None)!r} at layer '{placement.site.name}', which is what is built on: leave "
                    "adapter= out."
                )


def start_placements(start: Posterior, model: nn.Module, method: Method) -> tuple[Placement, ...]:
    """Return the placements of a fitted posterior for another method: its layers, ranks and scales, the method's latents.

    Raises:
        ConfigError: it was fitted on another network, or its adapters are of another kind than the method's, or it is an
            ensemble, which has no single value to start at.
    """
    if start.model is not model:
        raise ConfigError("start= was fitted on another network: pass the network that it carries, start.model.")
    if start.approximation.latent.members is not None:
        raise ConfigError("start= is an ensemble: the mean of its members' weights is no network that was trained.")
    latent = {"latent": method.adapter.latent} if hasattr(method.adapter, "latent") else {}
    placements = []
    for placement in start.placements:
        adapter = placement.adapter
        if placement.site.name not in start.heads and adapter.kind != method.adapter.kind:
            raise ConfigError(
                f"start= has the adapter '{adapter.kind}' at layer '{placement.site.name}', method '{method.name}' needs "
                f"'{method.adapter.kind}': fit the start with that adapter, or name start's with adapter=."
            )
        placements.append(
            Placement(placement.site, adapter.replace(**latent) if hasattr(adapter, "latent") else adapter)
        )
    return tuple(placements)


def started_at(packs: Sequence[Pack], start: Posterior) -> list[Pack]:
    """Return packs whose initial values are the means of a fitted posterior; what it lacks starts where the adapter says.

    Raises:
        ConfigError: it has a factor that the packs lack, such as a core between B and A.
    """
    means = start.approximation.mean()
    values = {
        (site, pack.factor): means[pack.name][row].detach().cpu()
        for pack in start.approximation.packs
        for site, row in pack.rows.items()
    }
    lost = {factor for _, factor in values} - {pack.factor for pack in packs}
    if lost:
        raise ConfigError(
            f"start= has the factor '{min(lost)}', which this method's adapter lacks, so its function would be another one: "
            "take a method whose adapter has it, or latent= with that factor."
        )

    centers = start.approximation.centers()

    def of(found: Mapping[tuple[str, str], Tensor], pack: Pack, own: Tensor) -> Tensor:
        return torch.stack([found.get((site, pack.factor), own[row]) for row, site in enumerate(pack.owners)])

    return [replace(pack, init=of(values, pack, pack.init), center=of(centers, pack, pack.center)) for pack in packs]


def check_labels(examples: Examples, likelihood: Likelihood, classes: int) -> None:
    """Check that training data has labels, in range."""
    labels = examples.labels()
    if labels is None:
        batch = next(iter(examples.batches(1)))
        if batch.labels is None:
            raise DataError("training needs labels: column 'label', 'labels' or 'answer' is missing.")
        labels = batch.labels
    likelihood.check_labels(labels, classes)
