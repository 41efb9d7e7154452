"""B-LoRA-XS: SWAG over the r x r core between the pretrained weight's own singular vectors."""

from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.guides.swag_adapter import SwagAdapter
from bayespeft.methods.base import Method
from bayespeft.methods.swag import METHOD as SWAG

METHOD: Method = SWAG.replace(
    name="lora_xs_bayes",
    title="B-LoRA-XS",
    reference="Marszałek et al. 2025, arXiv 2502.12122",
    summary="SWAG over the r x r core C of LoRA-XS, A = S V^T and B = U of the weight's SVD; the head is a point",
    deviations=(
        "five snapshots an epoch over four epochs instead of one an epoch over many, since fine-tuning is short; a learning "
        "rate of 4e-3 for C instead of 1e-3, and one for steps of the head's outputs (head_lr) instead of 5e-3; C starts at 0, "
        "not at noise of 1e-5"
    ),
    adapter=FrozenCore(r=8, alpha=16),
    # conf/method/swag.yaml of gmum/b-lora-xs: K = 5, swag_sample_scale 2, lora_only, and the rate of the training before.
    guide=SwagAdapter(rank=5, scale=2.0, lr_factor=1.0),
    # r^2 numbers a layer have to move further than LoRA's r (m + n).
    train=SWAG.train.replace(lr=4e-3),
)
