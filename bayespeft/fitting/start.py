"""`start=`: a fit that builds on a posterior, its layers, its values, and where its priors are centered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import Placement
from bayespeft.adapters.base import Adapter
from bayespeft.errors import ConfigError
from bayespeft.fitting.stacking import stacked
from bayespeft.layers.factors import Factor, StackedFactor
from bayespeft.methods.base import Method
from bayespeft.posterior.posterior import Posterior


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
            if not placement.head and wrong:
                raise ConfigError(
                    f"adapter= has {wrong[0]}={getattr(adapter, wrong[0])!r}, but start= brings "
                    f"{getattr(there, wrong[0], None)!r} at layer '{placement.layer.name}', which is what is built on: leave "
                    "adapter= out."
                )


# The method's adapter and its values, by layer, where the start's adapter is another one of a LoRA's form.
Begun = dict[str, tuple[Adapter, dict[str, Tensor]]]


def start_placements(start: Posterior, model: nn.Module, method: Method) -> tuple[tuple[Placement, ...], Begun]:
    """Return the placements of a fitted posterior for another method: its layers, ranks and scales, the method's latents.

    Also what begins at a LoRA of the start's.

    Raises:
        ConfigError: it was fitted on another network, or its adapters are of another kind than the method's, or it is an
            ensemble, which has no single value to start at.
    """
    if start.model is not model:
        raise ConfigError("start= was fitted on another network: pass the network that it carries, start.model.")
    if start.joint_guide.latent.members is not None:
        raise ConfigError("start= is an ensemble: the mean of its members' weights is no network that was trained.")
    latent = {"latent": method.adapter.latent} if hasattr(method.adapter, "latent") else {}
    begun = _begun(start, method)
    placements = []
    for placement in start.placements:
        adapter, name = placement.adapter, placement.layer.name
        if name in begun:
            adapter = begun[name][0]
        elif not placement.head and adapter.kind != method.adapter.kind:
            raise ConfigError(
                f"start= has the adapter '{adapter.kind}' at layer '{name}', method '{method.name}' needs "
                f"'{method.adapter.kind}': fit the start with that adapter, or name start's with adapter=."
            )
        placements.append(
            replace(placement, adapter=adapter.replace(**latent) if hasattr(adapter, "latent") else adapter)
        )
    return tuple(placements), begun


def _begun(start: Posterior, method: Method) -> Begun:
    """Return the method's adapter, and its values, at each layer where the start's is another one of a LoRA's form."""
    found: Begun = {}
    means = start.joint_guide.mean()
    for placement in start.placements:
        adapter, layer = placement.adapter, placement.layer
        if placement.head or adapter.kind == method.adapter.kind:
            continue
        own = {
            stack.factor: means[stack.name][stack.rows[layer.name]].detach().cpu()
            for stack in start.joint_guide.stacks
            if layer.name in stack.rows
        }
        lora = adapter.to_lora(own, layer)
        made = None if lora is None else method.adapter.from_lora(*lora)
        if made is not None:
            found[layer.name] = made
    return found


def start_stacks(
    placements: Sequence[Placement], method: Method, generator: torch.Generator, start: Posterior
) -> list[StackedFactor]:
    """Return stacks as `make_stacks` does, of any values where an adapter decomposes and the start has all of its factors."""
    there: dict[str, set[str]] = {}
    for known in start.joint_guide.stacks:
        for layer in known.layers:
            there.setdefault(layer, set()).add(known.factor)

    def factors(p: Placement) -> Mapping[str, Factor]:
        if p.adapter.decomposes and (blank := p.adapter.blank(p.layer, generator)).keys() <= there.get(
            p.layer.name, set()
        ):
            return blank
        return p.adapter.factors(p.layer, generator)

    return stacked([(p, factors(p)) for p in placements], method)


def started_at(stacks: Sequence[StackedFactor], start: Posterior, begun: Begun) -> list[StackedFactor]:
    """Return stacks whose initial values are the means of a fitted posterior; what it lacks starts where the adapter says.

    Raises:
        ConfigError: it has a factor that the stacks lack, such as a core between B and A.
    """
    means = start.joint_guide.mean()
    values = {
        (layer, stack.factor): means[stack.name][row].detach().cpu()
        for stack in start.joint_guide.stacks
        for layer, row in stack.rows.items()
    }
    values = {key: value for key, value in values.items() if key[0] not in begun}
    values |= {(layer, factor): value for layer, (_, own) in begun.items() for factor, value in own.items()}
    lost = {factor for _, factor in values} - {stack.factor for stack in stacks}
    if lost:
        raise ConfigError(
            f"start= has the factor '{min(lost)}', which this method's adapter lacks, so its function would be another one: "
            "take a method whose adapter has it, or latent= with that factor."
        )

    centers = {key: value for key, value in start.joint_guide.centers().items() if key[0] not in begun}
    centers |= {(layer, factor): own[factor] for layer, (adapter, own) in begun.items() for factor in adapter.anchors}

    def of(found: Mapping[tuple[str, str], Tensor], stack: StackedFactor, own: Tensor) -> Tensor:
        return torch.stack([found.get((layer, stack.factor), own[row]) for row, layer in enumerate(stack.owners)])

    return [
        replace(stack, init=of(values, stack, stack.init), center=of(centers, stack, stack.center)) for stack in stacks
    ]
