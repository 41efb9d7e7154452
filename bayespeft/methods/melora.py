"""Me-LoRA: a mean-field posterior over the r x r core C in W0 + s B C A; KL weight 1, the ELBO, or 0.1 or 0.01."""

from bayespeft.adapters.core import Core
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import FREE, Method
from bayespeft.priors.fan_in import FanIn

# What the methods over it say of their prior terms, too.
WARMED_UP = "prior terms are warmed up over 200 steps, on fewer than 900 rows over 180,000 / rows, 600 at most"

METHOD = Method(
    name="melora",
    title="Me-LoRA",
    reference="Me-LoRA, ICLR 2025 submission (withdrawn)",
    summary="mean-field posterior over the r x r core C in W0 + s B C A",
    deviations=(
        "A, B and a fresh head get a normal prior (MAP), that of A around its start, since an unregularised B absorbs the "
        "scale of C and with it the KL; prior standard deviations are divided by the root of the number of inputs (fan_in), "
        f"where the paper draws one, 0.2 + U(0, 1), anew each step; {WARMED_UP}; held-out rows decide the number of steps, "
        "whether the prior weighs 1, 0.1 or 0.01, and a temperature; the path is averaged; standard deviations are exp(.), "
        "not G^2; each example has its own draw of C. The paper's own settings: melora_paper"
    ),
    adapter=Core(r=8, alpha=16, anchored=True),
    # Near the prior's width: from 0.05, a few hundred steps leave the spread far from where the ELBO wants it.
    guide=MeanField(noise="example", init_std=(0.2, 0.2), std="exp"),
    latent_prior=FanIn(scale=1.0),
    point_prior=FanIn(scale=1.0),
    head_prior=FanIn(scale=3.0),
    # From 900 rows on the warm-up is that of all methods; on up to 300 it takes 600 steps, in which held-out rows choose.
    train=FREE.replace(kl_pace=180_000),
)
