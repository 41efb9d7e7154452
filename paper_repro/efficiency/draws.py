"""What 10 draws cost in passes: seconds of a folded prediction against as many passes of peft's LoRA, interleaved.

    python -m paper_repro.efficiency.draws minilm [--sizes 1x16,1x64,8x64] [--device cuda --dtype bfloat16]
        [--official FOLDER]

A pass of peft's LoRA is well written: of a language model only the last position's logits. Both end with averaged
probabilities on the CPU. `auto` folds as many draws into a pass as the package decides, `folded` all of them. Instead of a
name, a folder with a network of that shape serves. `linearised` is the prediction by Jacobians, where the posterior is a
Gaussian, `direction` the one by one backward pass for more than two outputs. `official` is what the code of
Wang-ML-Lab/bayesian-peft in that folder takes for as many draws of BLoB.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from bayespeft.config import Targets, TrainConfig
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.prediction.predictor import Predictor
from paper_repro.efficiency.official import OfficialStep
from paper_repro.efficiency.step import LABELS, PeftStep, network, random_batch
from paper_repro.efficiency.timing import medians
from paper_repro.results import append


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--methods", default="melora,blob")
    parser.add_argument("--sizes", default="1x16,1x64,8x64", help="examples x tokens")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--official", type=Path, help="a folder with the official code of BLoB")
    parser.add_argument("--rank", type=int, default=8, help="of the package's adapters and peft's")
    parser.add_argument("--last", type=int, help="adapt the last so many blocks only")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the network's weights")
    args = parser.parse_args()

    base, causal, targets = network(args.model, args.device, getattr(torch, args.dtype))
    where = Targets(modules=list(targets), layers=(-args.last, -1) if args.last else None)
    likelihood = LabelTokens(token_ids=LABELS) if causal else None
    for size in args.sizes.split(","):
        n, length = map(int, size.split("x"))
        ids, labels, rows = random_batch(n, length, args.device)
        peft = PeftStep(base, ids, labels, targets, causal=causal, bf16=False, rank=args.rank)
        official = (
            OfficialStep(args.official, base, ids, labels, targets, causal=causal, bf16=False, rank=args.rank)
            if args.official
            else None
        )
        # peft makes its factors float32, which would cost it casts.
        peft.model.to(base.dtype)

        def passes(peft: PeftStep = peft) -> torch.Tensor:
            with torch.no_grad():
                return torch.stack([peft.logits().softmax(-1).cpu() for _ in range(args.draws)]).mean(0)

        def one_pass(peft: PeftStep = peft) -> torch.Tensor:
            with torch.no_grad():
                return peft.logits().softmax(-1).cpu()

        for name in args.methods.split(","):
            method = choose_method(name, None, TrainConfig(batch_size=n))
            method = method.replace(adapter=method.adapter.replace(r=args.rank))
            with assemble(base, rows, method, likelihood=likelihood, targets=where) as made:
                problem = made.problem
                predictor = Predictor(problem)

                def predict(
                    per_pass: int | str, predictor: Predictor = predictor, data=problem.examples, n: int = n
                ) -> None:
                    predictor.run(data, args.draws, 0, draws_per_pass=per_pass, batch_size=n)

                runs: dict[str, Callable[[], object]] = {
                    "passes": passes,
                    "pass": one_pass,
                    "auto": lambda predict=predict: predict("auto"),
                    "folded": lambda predict=predict: predict(args.draws),
                }
                if official is not None:
                    runs["official"] = lambda official=official: official.predict(args.draws)
                if isinstance(problem.joint_guide.latent, GaussianGuide):
                    # One forward pass and a backward pass for each output say what all draws of this network would.
                    runs["linearised"] = lambda predictor=predictor, data=problem.examples, n=n: predictor.linearised(
                        data, 0, batch_size=n
                    )
                    if predictor.backward_passes > 1:
                        # Covariances of all examples have one shape, which was found before.
                        shape = predictor.common_shape(problem.examples, 0, batch_size=n)
                        runs["direction"] = lambda predictor=predictor, data=problem.examples, n=n, shape=shape: (
                            predictor.linearised(data, 0, batch_size=n, shape=shape)
                        )
                found = medians(runs, args.repeats, args.device, warm_up=3 if args.repeats > 4 else 1)
            append(
                "draws_speed",
                model=Path(args.model).name,
                method=name,
                batch=n,
                length=length,
                draws=args.draws,
                last=args.last,
                **({"rank": args.rank} if args.rank != 8 else {}),
                dtype=args.dtype,
                repeats=args.repeats,
                passes_ms=round(1000 * found["passes"], 2),
                auto_ms=round(1000 * found["auto"], 2),
                folded_ms=round(1000 * found["folded"], 2),
                pass_ms=round(1000 * found["pass"], 2),
                to_one_pass=round(found["auto"] / found["pass"], 2),
                ratio=round(found["auto"] / found["passes"], 3),
                folded_ratio=round(found["folded"] / found["passes"], 3),
                **(
                    {
                        "official_ms": round(1000 * found["official"], 2),
                        "against_official": round(found["auto"] / found["official"], 3),
                    }
                    if "official" in found
                    else {}
                ),
                **(
                    {
                        "linearised_ms": round(1000 * found["linearised"], 2),
                        "linearised_passes": round(found["linearised"] / found["pass"], 2),
                    }
                    if "linearised" in found
                    else {}
                ),
                **(
                    {
                        "direction_ms": round(1000 * found["direction"], 2),
                        "direction_passes": round(found["direction"] / found["pass"], 2),
                    }
                    if "direction" in found
                    else {}
                ),
            )


if __name__ == "__main__":
    main()
