"""The cost of one training step against peft's LoRA on the same layers, interleaved in one process.

    python -m paper_repro.efficiency.step minilm --batch 16 --length 64
    python -m paper_repro.efficiency.step smollm2 --batch 8 --length 64 [--device cuda --precision bf16] [--official FOLDER]

Steps alternate, so that drift of the machine's speed cancels in the ratios of the medians. All take the same batch of random
tokens and do forward, backward, clipping and AdamW. peft's LoRA is well written: of a language model only the last position's
logits; `as_run` computes all of them, as scripts do. `official` is a step of the code of Wang-ML-Lab/bayesian-peft in that
folder. Instead of a name, a folder with a network of that shape serves.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import pyro
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy

from bayespeft.config import TrainConfig
from bayespeft.data.source import Source, source_of
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.pretrained.load import load
from bayespeft.training.optimiser import make_optimiser
from paper_repro.efficiency.timing import medians
from paper_repro.results import append

LABELS = (10, 11, 12, 13)


class PeftStep:
    """A training step of peft's LoRA on query and value projections.

    Args:
        base: the network, which is left as it is unless `inplace`.
        ids: (n, T) token numbers on its device.
        labels: (n,) classes.
        targets: names of layers.
        causal: a language model, of which label tokens are read at the last position.
        bf16: autocast to it.
        inplace: peft may change `base` itself, for one that is too large for two.
        rank: r of the LoRA.
    """

    def __init__(
        self, base, ids, labels, targets, *, causal: bool, bf16: bool, inplace: bool = False, rank: int = 8
    ) -> None:
        kind = {"task_type": "CAUSAL_LM"} if causal else {"task_type": "SEQ_CLS", "modules_to_save": ["classifier"]}
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, **kind)
        self.model = get_peft_model(base if inplace else copy.deepcopy(base), config).eval()
        self.ids, self.labels, self.causal, self.bf16 = ids, labels, causal, bf16
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.adamw = torch.optim.AdamW(self.parameters, lr=1e-3)

    def logits(self, as_run: bool = False) -> torch.Tensor:
        """Return (n, K) logits; `as_run`: out of those of all positions and tokens."""
        if not self.causal:
            return self.model(input_ids=self.ids, attention_mask=torch.ones_like(self.ids)).logits
        keep = {} if as_run else {"logits_to_keep": 1}
        return self.model(input_ids=self.ids, use_cache=False, **keep).logits[:, -1, list(LABELS)]

    def __call__(self, as_run: bool = False) -> None:
        """Do one step."""
        with torch.autocast(self.ids.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.logits(as_run)
        cross_entropy(logits.float(), self.labels).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)


class OwnStep:
    """A training step of a method of the package, on what `assemble` made."""

    def __init__(self, problem, batch) -> None:
        self.problem, self.batch, self.optimiser = problem, batch, make_optimiser(problem)
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]

    def __call__(self) -> None:
        """Do one step."""
        self.problem.loss(self.batch, 1.0)[0].backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def random_batch(batch: int, length: int, device: str) -> tuple[torch.Tensor, torch.Tensor, Source]:
    """Return tokens (n, T) and classes (n,) on the device, and the same as rows of data."""
    ids = torch.randint(1000, 2000, (batch, length), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": row.tolist(), "labels": i % 2} for i, row in enumerate(ids)]
    return ids.to(device), torch.arange(batch, device=device) % 2, source_of(rows)


def network(model: str, device: str, dtype: torch.dtype = torch.float32):
    """Return a network, whether it is a language model, and the layers to adapt."""
    causal = Path(model).name.startswith("smollm2")
    base, _ = load(model, "causal" if causal else "classification", None if causal else 2, dtype=dtype)
    for p in base.parameters():
        p.requires_grad_(False)
    return base.to(device).eval(), causal, ["q_proj", "v_proj"] if causal else ["query", "value"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--methods", default="mle,melora,blob")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--official", type=Path, help="a folder with the official code of BLoB")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    args = parser.parse_args()

    base, causal, targets = network(args.model, args.device)
    ids, labels, rows = random_batch(args.batch, args.length, args.device)
    likelihood = LabelTokens(token_ids=LABELS) if causal else None
    peft_step = PeftStep(base, ids, labels, targets, causal=causal, bf16=args.precision == "bf16")
    official = None
    if args.official:
        from paper_repro.efficiency.official import OfficialStep

        official = OfficialStep(args.official, base, ids, labels, targets, causal=causal, bf16=args.precision == "bf16")
    for name in args.methods.split(","):
        method = choose_method(name, None, TrainConfig(batch_size=args.batch, precision=args.precision))
        with (
            assemble(base, rows, method, likelihood=likelihood, targets=targets) as assembly,
            pyro.validation_enabled(False),
        ):
            batch = next(assembly.problem.examples.batches(args.batch)).to(args.device)
            runs: dict[str, Callable[[], object]] = {"peft": peft_step, "own": OwnStep(assembly.problem, batch)}
            if causal:
                runs["as_run"] = lambda: peft_step(as_run=True)
            if official is not None:
                runs["official"] = official
            found = medians(runs, args.steps, args.device, warm_up=3 if args.steps > 4 else 1)
        append(
            "step",
            model=Path(args.model).name,
            method=name,
            batch=args.batch,
            length=args.length,
            precision=args.precision,
            steps=args.steps,
            peft_ms=round(1000 * found["peft"], 2),
            ms=round(1000 * found["own"], 2),
            ratio=round(found["own"] / found["peft"], 3),
            **({"as_run_ms": round(1000 * found["as_run"], 2)} if causal else {}),
            **({"against_as_run": round(found["own"] / found["as_run"], 3)} if causal else {}),
            **({"official_ms": round(1000 * found["official"], 2)} if official else {}),
            **({"against_official": round(found["own"] / found["official"], 3)} if official else {}),
        )


if __name__ == "__main__":
    main()
