"""The cost of one training step against peft's LoRA on the same layers, interleaved in one process.

    python -m paper_repro.efficiency.step minilm --batch 16 --length 64
    python -m paper_repro.efficiency.step smollm2 --batch 8 --length 64 [--device cuda --precision bf16]

Steps alternate, so that drift of the machine's speed cancels in the ratio of the medians. Both take the same batch of
random tokens and do forward, backward, clipping and AdamW.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import time
from collections.abc import Callable

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy

from bayespeft.config import TrainConfig
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.pretrained.load import load
from bayespeft.training.loop import make_optimiser
from paper_repro.results import append

LABELS = (10, 11, 12, 13)


def timed(step: Callable[[], None], device: str) -> float:
    """Return the seconds of one step."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--methods", default="mle,melora,blob")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    args = parser.parse_args()

    causal = args.model == "smollm2"
    base, _ = load(args.model, "causal" if causal else "classification", None if causal else 2)
    base = base.to(args.device).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 2000, (args.batch, args.length), generator=generator)
    rows = [{"input_ids": row.tolist(), "labels": i % 2} for i, row in enumerate(ids)]
    likelihood = LabelTokens(token_ids=LABELS) if causal else None
    targets = ["q_proj", "v_proj"] if causal else ["query", "value"]
    ids, labels = ids.to(args.device), torch.arange(args.batch, device=args.device) % 2

    kind = {"task_type": "CAUSAL_LM"} if causal else {"task_type": "SEQ_CLS", "modules_to_save": ["classifier"]}
    lora = get_peft_model(copy.deepcopy(base), LoraConfig(r=8, lora_alpha=16, target_modules=targets, **kind)).eval()
    parameters = [p for p in lora.parameters() if p.requires_grad]
    adamw = torch.optim.AdamW(parameters, lr=1e-3)

    def peft_step() -> None:
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            # The best a user of peft writes: only the last position's logits, only the labels' columns.
            if causal:
                logits = lora(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1, list(LABELS)]
            else:
                logits = lora(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        cross_entropy(logits.float(), labels).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adamw.step()
        adamw.zero_grad(set_to_none=True)

    for name in args.methods.split(","):
        method = choose_method(name, None, TrainConfig(batch_size=args.batch, precision=args.precision))
        with assemble(base, rows, method, likelihood=likelihood, targets=targets, optimiser=lambda _: None) as assembly:
            problem = assembly.problem
            batch = next(problem.examples.batches(args.batch)).to(args.device)
            optimiser = make_optimiser(problem)
            own = [p for group in optimiser.param_groups for p in group["params"]]
            for p in base.parameters():
                p.requires_grad_(False)

            def own_step(problem=problem, batch=batch, own=own, optimiser=optimiser) -> None:
                problem.loss(batch, 1.0)[0].backward()
                torch.nn.utils.clip_grad_norm_(own, 1.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)

            gc.disable()
            import pyro

            with pyro.validation_enabled(False):
                for _ in range(3):
                    peft_step()
                    own_step()
                pairs = [(timed(peft_step, args.device), timed(own_step, args.device)) for _ in range(args.steps)]
            gc.enable()
        reference, measured = (statistics.median(column) for column in zip(*pairs, strict=True))
        append(
            "step",
            model=args.model,
            method=name,
            batch=args.batch,
            length=args.length,
            precision=args.precision,
            steps=args.steps,
            peft_ms=round(1000 * reference, 2),
            ms=round(1000 * measured, 2),
            ratio=round(measured / reference, 3),
        )


if __name__ == "__main__":
    main()
