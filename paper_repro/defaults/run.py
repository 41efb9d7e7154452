"""The default call, nothing set, against maximum likelihood as people train it: accuracy, NLL, ECE, seconds.

python -m paper_repro.defaults.run --data-dir DATA [--device cuda]      # resumable: does what the results file lacks
python -m paper_repro.defaults.run --data-dir DATA --part development   # for choosing settings

The reference is LoRA by maximum likelihood: trained to its end at each rate of a grid on four fifths of the rows, the rate
with the best accuracy on the last fifth, a temperature fitted there (`mle_temperature`; without it, `mle`), and then trained
on all rows.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import torch

import bayespeft
from bayespeft import Posterior, TrainConfig
from bayespeft.compare import held_out
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.report.metric import value_of
from paper_repro.defaults import tasks as protocol
from paper_repro.defaults.tasks import DEVELOPMENT, REPORT, rows
from paper_repro.results import append, read

EXPERIMENT = "defaults"
RATES = (5e-4, 1e-3, 2e-3)
METHODS = ("mle", "melora", "map", "blob", "laplace_lora")
LIKELIHOODS = {False: SequenceClassification, True: LabelTokens}  # by whether rows have choices


def measure(posterior: Posterior, test: Any, **facts: Any) -> None:
    """Append what a posterior says of test rows."""
    report = posterior.report(test, quotes=0, resamples=400)
    ended = posterior.history.ended
    append(
        EXPERIMENT,
        **facts,
        accuracy=report.accuracy.value,
        nll=report.nll.value,
        ece=report.ece.value,
        ece_noise=report.ece_noise,
        auroc_errors=value_of(report.metrics["error_auroc"]),
        mutual_information=report.mutual_information,
        temperature=posterior.temperature,
        ended=str(ended),
        steps=posterior.history.steps,
        search_steps=ended.search_steps if ended else 0,
        kl_weight=ended.kl_weight if ended else None,
        fit_seconds=round(posterior.history.seconds, 1),
        predict_seconds=round(report.seconds, 2),
        trained=posterior.joint_guide.trainable(),
        test_rows=len(test[0] if isinstance(test, tuple) else test),
    )


def maximum_likelihood(
    network: Any, train: Any, parts: tuple[Any, Any], test: Any, options: dict[str, Any], /, **facts: Any
) -> None:
    """Fit the reference, and append it with and without its temperature; `parts` are four fifths of `train`, and the last."""
    rest, held = parts
    tried = {rate: bayespeft.fit(network, rest, "mle", train=TrainConfig(lr=rate), **options) for rate in RATES}
    accuracies = {rate: fit.report(held, quotes=0, resamples=10).accuracy.value for rate, fit in tried.items()}
    best = max(RATES, key=lambda rate: accuracies[rate])
    temperature = tried[best].with_temperature(held).temperature
    final = bayespeft.fit(network, train, "mle", train=TrainConfig(lr=best), **options)
    measure(final, test, method="mle", rate=best, **facts)
    measure(replace(final, temperature=temperature), test, method="mle_temperature", rate=best, **facts)


def main() -> None:
    """Run what the results file lacks, small fits first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--part", choices=("development", "report"), default="report")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--tasks")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--rows", default="300,100,1000,4000")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--test-limit", type=int, default=400)
    parser.add_argument("--max-length", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tasks = args.tasks.split(",") if args.tasks else DEVELOPMENT if args.part == "development" else REPORT
    for seed in map(int, args.seeds.split(",")):
        for n in map(int, args.rows.split(",")):
            for task in tasks:
                train, test = rows(task, args.part, args.data_dir, n, args.test_limit, seed)
                if len(train) < n:
                    continue
                for method in args.methods.split(","):
                    facts = {"task": task, "part": args.part, "n": n, "seed": seed, "max_length": args.max_length}
                    if args.model != "minilm":
                        facts["model"] = args.model
                    key = {"model": None, **facts, "method": method}
                    if any(all(record.get(k) == v for k, v in key.items()) for record in read(EXPERIMENT)):
                        continue
                    model, tokenizer = protocol.network(args.model, train + test, seed)
                    options = {
                        "tokenizer": tokenizer,
                        "likelihood": LIKELIHOODS["choices" in train[0]](max_length=args.max_length),
                        "seed": seed,
                        "device": args.device,
                        "progress": False,
                    }
                    if method == "mle":
                        parts = held_out(train, seed)
                        maximum_likelihood(model, train, parts, test, options, **facts)
                    else:
                        measure(bayespeft.fit(model, train, method, **options), test, method=method, **facts)


if __name__ == "__main__":
    main()
