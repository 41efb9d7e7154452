"""Me-LoRA with a matrix-normal q(C): one covariance for the rows of the core, one for its columns."""

from bayespeft.guides.matrix_normal import MatrixNormal
from bayespeft.methods.base import Method
from bayespeft.methods.melora import METHOD as MELORA

METHOD: Method = MELORA.replace(
    name="melora_matrix_normal",
    title="Me-LoRA, matrix normal",
    summary="matrix-normal posterior over each r x r core C",
    reference="this package; Louizos & Welling 2016, arXiv 1603.04733",
    guide=MatrixNormal(init_std=(0.2, 0.2)),
)
