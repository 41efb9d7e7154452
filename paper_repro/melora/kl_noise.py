"""The KL of Me-LoRA's core by its formula and by draws: how far single draws are from it, and how noisy their gradients are.

    python -m paper_repro.melora.kl_noise [--steps 200] [--draws 400]

A tiny random BERT is fitted to generated sentences, so that q is no longer where it started. Then the KL of q to its prior, of
the core's or of BLoB's A, is estimated by single reparameterised draws of ln q - ln p.
"""

from __future__ import annotations

import argparse
import math

import torch
from pyro.distributions import Delta
from torch import Tensor
from torch.distributions import Distribution

import bayespeft
from bayespeft import TrainConfig
from bayespeft.testing import networks
from bayespeft.variational.kl import closed_form, log_density
from paper_repro.results import append, read

EXPERIMENT = "kl_noise"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--draws", type=int, default=400)
    args = parser.parse_args()
    for seed in map(int, args.seeds.split(",")):
        for method in ("melora", "blob"):
            key = {"method": method, "seed": seed, "steps": args.steps}
            if not any(all(r[k] == v for k, v in key.items()) for r in read(EXPERIMENT)):
                append(EXPERIMENT, **key, draws=args.draws, **measured(method, seed, args.steps, args.draws))


def measured(method: str, seed: int, steps: int, draws: int) -> dict[str, float]:
    """Return the KL in nats by its formula and by draws, and the relative noise of its gradient from one draw."""
    posterior = bayespeft.fit(
        networks.bert(),
        networks.sentences(),
        method,
        tokenizer=networks.tokenizer(),
        train=TrainConfig(steps=steps),
        seed=seed,
        progress=False,
    )
    guide = posterior.joint_guide
    parameters = [p.requires_grad_() for p in guide.latent.parameters()]

    def gradient(value: Tensor) -> Tensor:
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        return torch.cat(
            [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters, strict=True)]
        )

    def laws() -> list[tuple[Distribution, Distribution]]:
        # Of what is a point, ln p alone would count.
        priors = guide.priors()
        return [(q, priors[name]) for name, q in guide.q().items() if not isinstance(q, Delta)]

    exact = torch.stack([closed_form(q, p).sum() for q, p in laws()]).sum()
    target = gradient(exact)
    torch.manual_seed(seed)
    values, errors = [], []
    for _ in range(draws):
        drawn = [(q, p, q.rsample()) for q, p in laws()]
        value = torch.stack([log_density(q, x).sum() - log_density(p, x).sum() for q, p, x in drawn]).sum()
        errors.append(float((gradient(value) - target).square().sum()))
        values.append(value.item())
    mean, sd = float(torch.tensor(values).mean()), float(torch.tensor(values).std())
    return {
        "kl": exact.item(),
        "kl_by_draws": mean,
        "standard_error": sd / math.sqrt(draws),
        "sd_of_one_draw": sd,
        "gradient_norm": float(target.norm()),
        "gradient_noise": math.sqrt(sum(errors) / draws),
        "relative_error": math.sqrt(sum(errors) / draws) / float(target.norm()),
        "numbers": sum(p.numel() for p in parameters),
    }


if __name__ == "__main__":
    main()
