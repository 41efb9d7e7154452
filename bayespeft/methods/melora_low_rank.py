"""Me-LoRA with a low-rank covariance: diagonal plus rank k over each r x r core."""

from bayespeft.guides.low_rank import LowRank
from bayespeft.methods.base import Method
from bayespeft.methods.melora import METHOD as MELORA

METHOD: Method = MELORA.replace(
    name="melora_low_rank",
    title="Me-LoRA, low-rank covariance",
    summary="diagonal plus rank-4 covariance over each r x r core C",
    reference="this package; Ong et al. 2018, JCGS 27(3)",
    guide=LowRank(init_std=(0.2, 0.2)),
)
