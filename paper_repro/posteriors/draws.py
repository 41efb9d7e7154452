"""How many draws, of which kind: the error of the averaged NLL over 1, 2, 5, 10, 20 draws; and the linearised prediction.

    python -m paper_repro.posteriors.draws --data-dir DATA [--methods melora,blob] [--task sst2] [--keep DIR]

The truth is the average over many plain draws. Errors are root mean squares over independent seeds of the draws.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import torch

from bayespeft import Posterior, registry
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.likelihoods.inputs import as_examples
from bayespeft.prediction.agreement import ROWS
from bayespeft.prediction.sampling import Sampling
from bayespeft.predictive.categorical import Predictive
from paper_repro.posteriors.common import arguments, fitted, metrics, test_rows
from paper_repro.results import append, read

EXPERIMENT = "draws"
DRAWS = (1, 2, 5, 10, 20)
SOBOL_LIMIT = 21201


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--methods", default="melora,blob")
    parser.add_argument("--seeds", type=int, default=5, help="of the draws")
    parser.add_argument("--truth", type=int, default=256, help="draws of the reference")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = test_rows(args, args.task)
    for name in args.methods.split(","):
        if any(r["method"] == name and r["task"] == args.task for r in read(EXPERIMENT)):
            continue
        posterior = fitted(args, args.task, registry.get("methods", name), 0)
        truth = posterior.predict(rows, args.truth, seed=10_000, prediction="sampled")
        mean = posterior.predict(rows, 0)
        curves = {
            kind: curve(posterior, rows, kind, truth, args.seeds)
            for kind in get_args(Sampling)
            if kind != "sobol" or posterior.joint_guide.latent.noise_size <= SOBOL_LIMIT
        }
        append(
            EXPERIMENT,
            task=args.task,
            method=name,
            test_rows=len(truth),
            truth_draws=args.truth,
            truth=metrics(truth.log_probs, truth.labels),
            truth_error=round(truth.nll_error, 6),
            mean=metrics(mean.log_probs, mean.labels),
            draw_seeds=args.seeds,
            curves=curves,
            seconds_per_draw=round(truth.seconds / args.truth, 3),
            linearised=linearised(posterior, rows, truth),
            direction=one_direction(posterior, rows, truth),
        )


def nll(log_probs: torch.Tensor, truth: Predictive) -> float:
    return -float(log_probs.gather(1, truth.labels[:, None]).mean())


def curve(posterior: Posterior, rows, kind: Sampling, truth: Predictive, seeds: int) -> dict[str, dict[str, float]]:
    """Return, by number of draws, the mean NLL and the root mean square error of NLL and of the probabilities."""
    target = nll(truth.log_probs, truth)
    found: dict[int, list[tuple[float, float]]] = {k: [] for k in DRAWS}
    for seed in range(seeds):
        kept = posterior.predict(
            rows, max(DRAWS), seed, sampling=kind, prediction="sampled", keep_draws=True
        ).draw_log_probs.double()
        for k in DRAWS:
            average = torch.logsumexp(kept[:k], 0) - math.log(k)
            off = (average.exp() - truth.probs).square().mean().sqrt()
            found[k].append((nll(average, truth), float(off)))
    return {
        str(k): {
            "nll": round(sum(v for v, _ in values) / seeds, 5),
            "nll_error": round(math.sqrt(sum((v - target) ** 2 for v, _ in values) / seeds), 5),
            "probability_error": round(math.sqrt(sum(off**2 for _, off in values) / seeds), 5),
        }
        for k, values in found.items()
    }


def linearised(posterior: Posterior, rows, truth: Predictive) -> dict[str, float] | None:
    """Return how far the linearised prediction is from the sampled truth, and what it takes."""
    if not isinstance(posterior.joint_guide.latent, GaussianGuide):
        return None
    return beside(posterior.predict(rows, prediction="linearised"), truth)


def one_direction(posterior: Posterior, rows, truth: Predictive) -> dict[str, float] | None:
    """Return the same of one backward pass for several classes: the first rows, which give the shape, are counted, too."""
    if not isinstance(posterior.joint_guide.latent, GaussianGuide):
        return None
    with posterior._predictor() as predictor:
        if predictor.backward_passes == 1:
            return None
        source = posterior._source(rows)
        examples = as_examples(source, posterior.likelihood, posterior.tokenizer, posterior.model)
        some = examples.subset(torch.arange(ROWS))
        assert some is not None
        return beside(predictor.linearised(examples, 0, shape=predictor.common_shape(some, 0)), truth)


def beside(found: Any, truth: Predictive) -> dict[str, float]:
    """Return figures of a linearised prediction, and of the truth."""
    return {
        **metrics(found.log_probs, found.labels),
        "probability_error": round(float((found.probs - truth.probs).square().mean().sqrt()), 5),
        "seconds": round(found.seconds, 2),
        "forward_passes": found.forward_passes,
        "backward_passes": found.backward_passes,
        "mutual_information": round(float(found.mutual_information.mean()), 5),
        "truth_mutual_information": round(float(truth.mutual_information.mean()), 5),
    }


if __name__ == "__main__":
    main()
