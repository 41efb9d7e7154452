"""PoLAR-VBLL: a variational last layer over features from a low-rank change between orthonormal frames."""

from bayespeft.adapters.orthonormal_core import OrthonormalCore
from bayespeft.methods.base import Method
from bayespeft.methods.vbll import METHOD as VBLL

METHOD: Method = VBLL.replace(
    name="polar_vbll",
    title="PoLAR-VBLL",
    reference="Xiang, Li & Lu 2026, arXiv 2604.03388",
    summary="W0 + s Q(B) C Q(A) with orthonormal frames as a point, a variational last layer over a fresh head",
    deviations=(
        "frames by Cholesky QR of free matrices under Adam, started at W0's singular vectors, where PoLAR's code "
        "(kcc-lion/polar 7c9eeab) starts at random ones and keeps them nearly orthonormal by its landing field; alpha is 16, "
        f"not 32; all is trained together instead of in turns; a fresh head instead of the output embedding; {VBLL.deviations}"
    ),
    adapter=OrthonormalCore(r=8, alpha=16),
)
