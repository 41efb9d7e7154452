"""SWAG-LoRA: a Gaussian through the iterates of LoRA's training at a constant learning rate."""

from bayespeft.guides.swag import Swag
from bayespeft.methods.base import Method
from bayespeft.methods.mle import METHOD as MLE

METHOD: Method = MLE.replace(
    name="swag",
    title="SWAG (LoRA)",
    reference="Maddox et al. 2019, arXiv 1902.02476; Onal et al. 2024, arXiv 2405.03425",
    summary="diagonal plus low-rank Gaussian through snapshots at a constant learning rate",
    deviations=(
        "five snapshots an epoch instead of one, since fine-tuning is short; AdamW at three times the peak rate; freshly made "
        "heads included; with fewer snapshots than the rank the low-rank part is divided by their number less one, where the "
        "official code divides by the rank less one"
    ),
    guide=Swag(),
)
