"""IVON-LoRA as its official code trains it: a large effective sample size, and the precision that it begins with."""

from bayespeft.config import TrainConfig
from bayespeft.guides.ivon import Ivon
from bayespeft.methods.base import Method
from bayespeft.methods.ivon import METHOD as IVON

METHOD: Method = IVON.replace(
    name="ivon_official",
    title="IVON (LoRA, official settings)",
    summary="IVON with its code's effective sample size of 1e6; the spread is the one that hess_init sets",
    deviations=(
        "no LoRA dropout (0.1 in the code); ess and hess_init are those of the smaller tasks, other ones have 1e7 or 1e8 and "
        "3e-4. With beta2 = 0.99999, 10000 steps leave 0.9 of hess_init in h: the spread is no estimate of the curvature"
    ),
    guide=Ivon(hess_init=1e-3, beta2=0.99999, ess=1e6, clip_radius=1e-3, rescale_lr=False, verify=False),
    # ivon.sh and finetune.py of team-approx-bayes/ivon-lora.
    train=TrainConfig(steps=10_000, batch_size=4, lr=0.03, warmup=0.0, weight_decay=0.0, clip=0.0),
)
