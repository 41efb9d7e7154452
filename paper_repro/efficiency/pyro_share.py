"""What Pyro itself costs in a training step with 224 adapted layers, in milliseconds.

    python -m paper_repro.efficiency.pyro_share

The same step is done twice, alternating: through `TraceMeanField_ELBO`, and by hand (draw, bind, network, NLL, KL from
`torch.distributions`). The difference of the medians is Pyro's share.
"""

from __future__ import annotations

import statistics
import time

import pyro
import torch
from torch import nn
from torch.distributions import kl_divergence

from bayespeft.config import TrainConfig
from bayespeft.data.source import source_of
from bayespeft.fitting.assemble import assemble, choose_method
from paper_repro.results import append

LAYERS, WIDTH, BATCH, STEPS = 224, 64, 16, 60


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)])
    x, y = torch.randn(BATCH, WIDTH), torch.arange(BATCH) % 2
    method = choose_method("melora", None, TrainConfig(batch_size=BATCH))
    with assemble(model, source_of((x, y)), method, targets="all-linear") as assembly:
        problem = assembly.problem
        joint_guide = problem.joint_guide
        batch = next(problem.examples.batches(BATCH))
        for p in model.parameters():
            p.requires_grad_(False)

        def with_pyro() -> None:
            problem.loss(batch, 1.0)[0].backward()

        def by_hand() -> None:
            q, p = joint_guide.q(), joint_guide.priors()
            values = {name: d.rsample((BATCH,)) if name in joint_guide.random else d.rsample() for name, d in q.items()}
            problem.attachment.bind(joint_guide.training_weights(values, BATCH))
            assert batch.labels is not None
            nll = -problem.likelihood.distribution(problem.logits(batch)).log_prob(batch.labels).mean()
            (nll + sum(kl_divergence(q[name], p[name]) for name in p) / BATCH).backward()

        times: dict[str, list[float]] = {"pyro": [], "hand": []}
        with pyro.validation_enabled(False):
            for i in range(STEPS + 5):
                for name, step in (("pyro", with_pyro), ("hand", by_hand)):
                    start = time.perf_counter()
                    step()
                    if i >= 5:
                        times[name].append(1000 * (time.perf_counter() - start))
                    joint_guide.zero_grad(set_to_none=True)
        median = {name: statistics.median(values) for name, values in times.items()}
        append(
            "pyro_share",
            layers=LAYERS,
            sites=len(joint_guide.sampled),
            pyro_ms=round(median["pyro"], 2),
            hand_ms=round(median["hand"], 2),
            share_ms=round(median["pyro"] - median["hand"], 2),
        )


if __name__ == "__main__":
    main()
