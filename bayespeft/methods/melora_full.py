"""Me-LoRA with a full covariance: one Cholesky factor for each r x r core, so that q can follow the likelihood's ridges."""

from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.methods.base import Method
from bayespeft.methods.melora import METHOD as MELORA

METHOD: Method = MELORA.replace(
    name="melora_full",
    title="Me-LoRA, full covariance",
    summary="full covariance over each r x r core C",
    reference="this package; Opper & Archambeau 2009, Neural Computation 21(3)",
    guide=FullCovariance(init_std=(0.2, 0.2)),
)
