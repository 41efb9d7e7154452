"""`adapt`: the pieces of `fit` for a loop of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bayespeft.adapters.base import Adapter
from bayespeft.config import Targets, TrainConfig
from bayespeft.data.layout import Columns
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError
from bayespeft.fitting.adaptation import Adaptation
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.fitting.start import check_start
from bayespeft.guides.base import GuideSpec
from bayespeft.layers.network import bare
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.class_weight import ClassWeight
from bayespeft.methods.base import Method
from bayespeft.posterior.posterior import Posterior
from bayespeft.utils.annotations import ELSEWHERE, Count, Network, Reader, Seed
from bayespeft.utils.checks import checked
from bayespeft.utils.device import find_device
from bayespeft.utils.randomness import seeded
from bayespeft.utils.threads import alone


@checked
@alone()
def adapt(
    model: Network,
    example: Any,
    data_size: Count,
    guide: str | Method | GuideSpec = "melora",
    *,
    tokenizer: Reader = None,
    adapter: str | Adapter | None = None,
    likelihood: str | Likelihood | None = None,
    class_weight: ClassWeight | None = None,
    targets: str | Sequence[str] | Targets | None = None,
    train: TrainConfig = TrainConfig(),
    start: Annotated[Posterior | None, ELSEWHERE] = None,
    columns: Columns | None = None,
    seed: Seed = 0,
    device: str | torch.device | None = None,
) -> Adaptation:
    """Prepare a network for a training loop of your own, which ends in the posterior that `fit` would return.

    `fit` stands on the same pieces: the same batches and the same seed give the same parameters, bit by bit.

    Args:
        model: as for `fit`.
        example: some of the training data, in any form that `fit` takes, or one batch of it (a dict of tensors, or (x, y)):
            layers are tried out on it, and freshly made heads take the units of their inputs from it, so let it be as
            many rows as are at hand, in no particular order.
        data_size: N, the number of all training examples: it weighs the data against the prior.
        guide: as for `fit`; a variational method, or a point estimate. Post-hoc methods build on it: see `fit`'s `start`.
        tokenizer, adapter, likelihood, class_weight, targets, start, columns: as for `fit`. What is said of columns, and what
            the example calls its classes, holds for all batches; class_weight="balanced" needs all rows as the example.
        train: rates, and the weight of the KL and its warm-up, by the step. `steps`, or `epochs` of `batch_size` and
            `accumulate`, say how long it will be; what is not said is open. The loop itself decides on batches, clipping
            and schedule: see `Adaptation.schedule`.
        seed: of initial values and noise.
        device: move the network there first.

    Returns:
        The adaptation: `with adaptation:` puts the adapters on, `loss(batch)` is the objective, `posterior()` the result.

    Raises:
        ConfigError: the method needs `fit`'s own loop, or a setting can't be used. And what `fit` raises.
    """
    model = bare(model, sharded=True)
    method = choose_method(guide, adapter, train)
    check_start(start, adapter)
    _check_own_loop(method, started=start is not None)
    if device is not None:
        model.to(find_device(device))
    source = source_of(_as_data(example), "train", columns, None if start is None else start.columns)
    with (
        seeded(seed),
        assemble(
            model,
            source,
            method,
            tokenizer=tokenizer,
            likelihood=likelihood,
            class_weight=class_weight,
            targets=targets,
            seed=seed,
            start=start,
            size=data_size,
        ) as assembly,
    ):
        pass
    return Adaptation(assembly, tokenizer, source.columns, source.class_names)


def _as_data(example: Any) -> Any:
    """Return one batch, a mapping of tensors, as a loader that gives it; everything else as it is."""
    inputs = example[0] if isinstance(example, (tuple, list)) and len(example) == 2 else example
    if not isinstance(inputs, Mapping):
        return example
    sizes = {len(value) for value in inputs.values() if isinstance(value, Tensor) and value.dim()}
    if len(sizes) != 1 or 0 in sizes:
        return example
    return DataLoader(range(next(iter(sizes))), batch_size=next(iter(sizes)), collate_fn=lambda _: example)  # type: ignore[arg-type]


def _check_own_loop(method: Method, started: bool) -> None:
    """Refuse a method that needs more than the objective.

    Raises:
        ConfigError: it does; the message says what to do instead.
    """
    guide, adapter = method.guide, method.adapter
    if not guide.variational:
        raise ConfigError(
            f"guide '{guide.kind}' is not found by minimising an objective: it has a training of its own, or builds on one. "
            "Train a point in your loop (guide='map'), and call bayespeft.fit(model, data, guide, "
            "start=adaptation.posterior()); or call fit alone."
        )
    why = None
    if method.temperature:
        why = "fits a temperature to validation data: take guide='mle', and posterior().with_temperature(validation)"
    elif method.train.layers_at_once is not None:
        why = "trains layers in turn, which needs fit's own loop: leave layers_at_once out, or call bayespeft.fit"
    elif not started and adapter.merge_interval(1) is not None:
        why = (
            f"merges into the network's weights while it trains (adapter '{adapter.kind}'), which needs fit's own loop: set "
            "the adapter's every=None, or call bayespeft.fit"
        )
    elif not started and adapter.warm_up() is not None:
        why = (
            f"chooses what to train after a warm-up over the data (adapter '{adapter.kind}'), which needs fit's own loop: set "
            "mask='random', or call bayespeft.fit and go on from there with start="
        )
    if why:
        raise ConfigError(f"method '{method.name}' {why}.")
