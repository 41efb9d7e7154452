"""Temperature scaling of an MLE LoRA: one number, fitted to validation data."""

from bayespeft.methods.base import Method
from bayespeft.methods.mle import METHOD as MLE

METHOD: Method = MLE.replace(
    name="temperature",
    title="MLE (LoRA) with temperature",
    reference="Guo et al. 2017, arXiv 1706.04599",
    summary="MLE whose logits are divided by a temperature; fitted on validation data, over any other method too",
    deviations="over a method with draws, the logits of every draw are divided before averaging",
    temperature=True,
)
