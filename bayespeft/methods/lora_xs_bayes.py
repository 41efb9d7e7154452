"""B-LoRA-XS: SWAG over the r x r core between the pretrained weight's own singular vectors."""

from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.methods.base import Method
from bayespeft.methods.swag import METHOD as SWAG

METHOD: Method = SWAG.replace(
    name="lora_xs_bayes",
    title="B-LoRA-XS",
    reference="Marszałek et al. 2025, arXiv 2502.12122",
    summary="SWAG over the r x r core C of LoRA-XS, and the head",
    deviations="five snapshots an epoch instead of one, since fine-tuning is short; C starts at 0, not at small noise",
    adapter=FrozenCore(r=8, alpha=16),
    # r^2 numbers a layer have to move further than LoRA's r (m + n).
    train=SWAG.train.replace(lr=4e-3),
)
