"""In which order layers have their rows: told by what of a layer's input changes when one of two examples does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from bayespeft.data.batch import Batch
from bayespeft.data.columns import MASK, PROCESSED, TOKENS
from bayespeft.layers.rows import MIXED, Order
from bayespeft.layers.watched import Call, calls_of

# Part of a layer's largest input that a row must change by: what rounds differently beside another example changes by less.
CHANGED, CHANGED_IN_HALF = 1e-3, 0.05
# These inputs hold what a network reads of an example; others say where that stands and which of it counts.
CONTENT = (TOKENS, "inputs_embeds", *PROCESSED)


def orders(modules: Mapping[str, nn.Module], run: Callable[[Batch], object], batch: Batch) -> dict[str, Order]:
    """Return in which order each layer has its rows.

    Two examples are run together, in both orders, each beside itself, and two that are made of parts of both, of which the
    second counts for less of its length. A layer whose input holds other numbers of rows in these passes, or rows of both
    examples where those of one should be, is "mixed", and so is one that does not run, or has another number of rows for each
    of all examples of the batch.

    Args:
        modules: the layers by name.
        run: runs the network, without adapters, on a batch.
        batch: on the network's device; of one example, or two that are alike, a second one is made.
    """
    pair = _pair(batch)

    def calls(first: int, second: int) -> dict[str, list[Call]]:
        return _calls(modules, run, pair.rows(torch.tensor([first, second], device=pair.index.device)))

    together, turned, of_first = calls(0, 1), calls(1, 0), calls(0, 0)
    if all(calls and all(call.size == 2 and not call.like for call in calls) for calls in together.values()):
        return {name: "first" if _in_place(together[name], turned[name], of_first[name]) else MIXED for name in modules}
    of_second, others, wide = calls(1, 1), _calls(modules, run, _parts(pair)), _calls(modules, run, batch)
    return {
        name: _order(together[name], turned[name], of_first[name], of_second[name], others[name])
        if _sizes(wide[name], 2) == _sizes(together[name], len(batch))
        else MIXED
        for name in modules
    }


def _pair(batch: Batch) -> Batch:
    """Return two examples that are not alike."""
    pair = batch.rows(torch.tensor([0, min(1, len(batch) - 1)], device=batch.index.device))
    inputs = {"": pair.inputs} if isinstance(pair.inputs, Tensor) else dict(pair.inputs)
    read = [name for name in inputs if name in ("", *CONTENT)]
    if not all(torch.equal(inputs[name][0], inputs[name][1]) for name in read):
        return pair
    for name in read:
        # The same numbers in another order are as good for the network as they were.
        inputs[name] = torch.stack([inputs[name][0], inputs[name][1].flip(tuple(range(inputs[name].dim() - 1)))])
    return replace(pair, inputs=inputs[""] if isinstance(pair.inputs, Tensor) else inputs)


def _parts(pair: Batch) -> Batch:
    """Return two examples of which each has a part of what either of two has to be read; the second's later half is masked."""

    def parts(value: Tensor) -> Tensor:
        places = torch.arange(value.shape[1], device=value.device).reshape(-1, *[1] * (value.dim() - 2))
        chosen = (places % 2 == 0, 2 * places < value.shape[1])
        return torch.stack([torch.where(some, value[0], value[1]) for some in chosen])

    if isinstance(pair.inputs, Tensor):
        return replace(pair, inputs=parts(pair.inputs) if pair.inputs.dim() > 1 else pair.inputs)
    first = pair.rows(torch.tensor([0, 0], device=pair.index.device))
    assert not isinstance(first.inputs, Tensor)
    read = [name for name, value in pair.inputs.items() if name in CONTENT and value.dim() > 1]
    # Where the tokens of an image stand, and how many, is the network's to check: beside an image, tokens stay as they are.
    mixed = [name for name in read if name != TOKENS] or read
    own = {name: parts(pair.inputs[name]) for name in mixed}
    mask = first.inputs.get(MASK)
    if mask is not None and mask.dim() == 2:
        # Rows that are packed without their padding become fewer.
        real = mask[1].cumsum(0)
        own[MASK] = torch.stack([mask[0], torch.where(2 * real > real[-1] + 1, torch.zeros_like(mask[1]), mask[1])])
    return replace(first, inputs={**first.inputs, **own})


def _calls(modules: Mapping[str, nn.Module], run: Callable[[Batch], object], pair: Batch) -> dict[str, list[Call]]:
    with torch.no_grad(), calls_of(modules) as found:
        run(pair)
    return found


def _sizes(calls: Sequence[Call], times: int) -> list[int]:
    return [times * len(call.rows) for call in calls]


def _least(call: Call) -> float:
    """Return by how much a row must change so that it is no rounding."""
    return (CHANGED if call.exact else CHANGED_IN_HALF) * float(call.rows.abs().max())


def _in_place(together: Sequence[Call], turned: Sequence[Call], of_first: Sequence[Call]) -> bool:
    """Whether the first axis has examples in their own order, and not sorted by something, say their length.

    Beside the first example itself, the second one's row is the one that changes more, wherever it stands; what one example
    changes of another's row by rounding, as where a whole batch has one scale, is less.
    """
    for call, other, first in zip(together, turned, of_first, strict=False):
        if not len(call.rows) == len(other.rows) == len(first.rows):
            continue  # A network that cuts its input to the longest example gives nothing to compare.
        least = _least(call)
        as_given, the_other_way = ((rows - first.rows).abs().reshape(2, -1).amax(1) for rows in (call.rows, other.rows))
        if as_given[0] > as_given[1].clamp_min(least) or the_other_way[1] > the_other_way[0].clamp_min(least):
            return False
    return True


def _order(
    together: Sequence[Call],
    turned: Sequence[Call],
    of_first: Sequence[Call],
    of_second: Sequence[Call],
    of_parts: Sequence[Call],
) -> Order:
    passes = (together, turned, of_first, of_second, of_parts)
    # Where tokens are routed, as many of one example as of the other may come to a layer by chance.
    if not together or len({tuple(len(call.rows) for call in calls) for calls in passes}) > 1:
        return MIXED
    possible: set[Order] = {"first", "grouped", "alternating"}
    for call, other, first, second in zip(together, turned, of_first, of_second, strict=True):
        rows = call.rows
        if len(rows) % 2:
            return MIXED
        places = torch.arange(len(rows), device=rows.device)
        least = _least(call)
        beside, behind, before = (
            (some - alone.rows).abs() > least for some, alone in ((rows, second), (rows, first), (other.rows, first))
        )
        if not (beside.any() or behind.any()):
            # Nothing of an example is in here: only an axis of examples says that it goes by examples.
            possible &= {"first"} if call.size == 2 else set()
            continue
        # Beside the second example itself, the first one's rows are others; beside the first, the second one's, wherever it is.
        halves = 2 * places >= len(rows)
        if bool(((beside | before) & halves).any() or (behind & ~halves).any()):
            possible -= {"first", "grouped"}
        if bool(((beside | before) & (places % 2 == 1)).any() or (behind & (places % 2 == 0)).any()):
            possible -= {"alternating"}
        if call.size != 2:
            possible -= {"first"}
    # One row of each example: an axis of examples behind the first says that positions come before them.
    positions_first = any(call.like and call.size != 2 for call in together)
    tried: tuple[Order, ...] = (
        ("first", "alternating", "grouped") if positions_first else ("first", "grouped", "alternating")
    )
    return next((order for order in tried if order in possible), MIXED)
