"""Whether padding changes what a network says of an example: shown by running two rows, together and alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import mode
from bayespeft.data.batch import Batch
from bayespeft.data.columns import MASK
from bayespeft.data.examples import Examples
from bayespeft.errors import AttachError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.networks.tokens import IGNORED

# Outputs may differ by this part of the largest one: another kernel's rounding stays below it, and reading padding does not.
EXACT, HALF = 1e-3, 0.05
# Inputs of fractions that have one for each entry of `attention_mask`: vectors of tokens, samples and features of sounds.
SEQUENCES = ("inputs_embeds", "input_values", "input_features")


def alone(pair: Batch, row: int) -> Batch:
    """Return one row of a batch without its padding, as `attention_mask` (n, T) tells it."""
    assert isinstance(pair.inputs, Mapping)
    mask = _mask(pair)
    real = mask[row].bool()

    def cut(name: str, value: Tensor) -> Tensor:
        beside = value.shape[:2] == mask.shape and (not value.is_floating_point() or name in SEQUENCES)
        return value[row : row + 1, real] if beside else value[row : row + 1]

    labels = None if pair.labels is None else pair.labels[row : row + 1]
    if labels is not None and labels.shape[1:] == mask.shape[1:] and bool((labels[:, ~real] == IGNORED).all()):
        labels = labels[:, real]
    inputs = {name: cut(name, value) for name, value in pair.inputs.items()}
    return Batch(inputs, labels, pair.index[row : row + 1])


def deviation(model: nn.Module, likelihood: Likelihood, pair: Batch) -> float:
    """Return by how much outputs of two rows together differ from those of each alone, in units of the largest output."""
    with torch.no_grad(), mode(model):
        together = _outputs(model, likelihood, pair)
        apart = torch.cat([_outputs(model, likelihood, alone(pair, row)) for row in range(len(pair))])
    return float((together - apart).abs().max() / together.abs().max().clamp_min(1e-6))


def _outputs(model: nn.Module, likelihood: Likelihood, batch: Batch) -> Tensor:
    """Return what stands for something among the outputs: of two rows together as many as of each alone."""
    outputs, counted = likelihood.logits(model, batch).double(), likelihood.counted(batch)
    return outputs if counted is None else outputs[counted]


def settled(
    model: nn.Module, likelihood: Likelihood, examples: Examples, device: torch.device
) -> tuple[Likelihood, Examples]:
    """Return likelihood and examples with the padding on a side where it changes nothing, if rows are of several lengths.

    Args:
        model: runs as it is: hooks, if they are on, are to be bound to nothing.
        likelihood: says where rows are padded, if that is settled already.
        examples: rows are padded on the other side where that helps; a loader's batches are as they are.
        device: where the network is.

    Raises:
        AttachError: on neither side: the network reads padding.
    """
    tolerance = EXACT if next(model.parameters()).dtype == torch.float32 else HALF
    found: dict[str, float] = {}
    for tried in (examples, *examples.sides()):
        pair = tried.uneven()
        if pair is None:
            return likelihood, examples
        side = "right" if bool(_mask(pair)[:, 0].all()) else "left"
        if side in found:
            continue
        found[side] = deviation(model, likelihood, pair.to(device))
        if found[side] <= tolerance:
            return (likelihood if tried.side is None else likelihood.replace(pads=tried.side)), tried
    sides = " and ".join(f"{value:.1%} padded on the {side}" for side, value in found.items())
    remedy = (
        "Give sequences of one length, or take a network that does not read padding"
        if examples.side is not None
        else "Pad on the other side in the DataLoader, give it sequences of one length, or pass the rows themselves"
    )
    raise AttachError(
        f"what {type(model).__name__} says of an example changes with the padding that a longer neighbour brings (by {sides}, "
        f"in units of its largest output): predictions would depend on their batches. {remedy}."
    )


def settled_for(model: nn.Module, likelihood: Likelihood, examples: Examples, device: torch.device) -> Examples:
    """Return examples to predict as `settled` does, where the fit has not looked: rows after a fit to none, and loaders."""
    if likelihood.pads is not None and examples.side is not None:
        return examples
    return settled(model, likelihood, examples, device)[1]


def _mask(pair: Batch) -> Tensor:
    assert isinstance(pair.inputs, Mapping)
    return pair.inputs[MASK]
