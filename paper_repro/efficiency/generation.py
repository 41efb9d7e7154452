"""Seconds a token of draw-folded generation against transformers' own `generate`, once and once for each draw.

    python -m paper_repro.efficiency.generation [--draws 8] [--tokens 32] [--repeats 5] [--device cuda --dtype bfloat16]
        [--model FOLDER]

One prompt, greedy, SmolLM2-135M with Me-LoRA. The three alternate, so that drift of the machine's speed cancels in the ratios
of the medians. One plain text is that of the network without adapters; texts one after another are those of each draw.
Seconds a text tell of the prompt, too, which each draw reads for itself: what one further token costs is the slope from a text
of `FEW` tokens to a whole one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import bayespeft
from bayespeft.config import TrainConfig
from bayespeft.likelihoods.language_modelling import LanguageModelling
from bayespeft.pretrained.load import load as load_model
from paper_repro.efficiency.timing import medians
from paper_repro.results import append

FEW = 4
PROMPT = "Write a sentence about this game: name[Portal 2], release_year[2011], genres[puzzle, platformer]"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="smollm2", help="or a folder with a network of that shape")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    args = parser.parse_args()
    model, tokenizer = load_model(args.model, "causal", dtype=getattr(torch, args.dtype))
    # One step, so that draws differ; no text may end early, or the three would not write as many tokens.
    posterior = bayespeft.fit(
        model,
        [{"source": PROMPT, "target": "Portal 2 is a puzzle platformer from 2011."}],
        likelihood="language_modelling",
        tokenizer=tokenizer,
        train=TrainConfig(steps=1, batch_size=1),
        device=args.device,
        progress=False,
    )
    posterior.tokenizer = model.generation_config.eos_token_id = model.config.eos_token_id = None
    likelihood = posterior.likelihood
    assert isinstance(likelihood, LanguageModelling)
    ids = torch.tensor(likelihood.prompts([PROMPT], tokenizer), device=args.device)
    mask = torch.ones_like(ids)

    def plain(tokens: int = args.tokens) -> None:
        out = model.generate(
            ids, attention_mask=mask, do_sample=False, max_new_tokens=tokens, pad_token_id=tokenizer.pad_token_id
        )
        assert out.shape[1] == ids.shape[1] + tokens

    def one_after_another() -> None:
        for draw in range(args.draws):
            with posterior.using(draw):
                plain()

    def folded(tokens: int = args.tokens) -> None:
        found = posterior.generate(ids, draws=args.draws, max_new_tokens=tokens)
        assert int(found.lengths[0]) == tokens

    runs = {"plain": plain, "sequential": one_after_another, "folded": folded}
    few = {"plain, few": lambda: plain(FEW), "folded, few": lambda: folded(FEW)}
    found = medians({**runs, **few}, args.repeats, args.device, warm_up=1)
    median = {name: found[name] / args.tokens for name in runs}
    further = {n: (found[n] - found[f"{n}, few"]) / (args.tokens - FEW) for n in ("plain", "folded")}
    append(
        "generation_speed",
        model=Path(args.model).name,
        method=posterior.method.name,
        draws=args.draws,
        prompt=ids.shape[1],
        tokens=args.tokens,
        dtype=args.dtype,
        repeats=args.repeats,
        plain_ms=round(1000 * median["plain"], 2),
        sequential_ms=round(1000 * median["sequential"], 2),
        folded_ms=round(1000 * median["folded"], 2),
        against_plain=round(median["folded"] / median["plain"], 2),
        plain_token_ms=round(1000 * further["plain"], 2),
        folded_token_ms=round(1000 * further["folded"], 2),
        token_against_plain=round(further["folded"] / further["plain"], 2),
        against_sequential=round(median["folded"] / median["sequential"], 3),
    )


if __name__ == "__main__":
    main()
