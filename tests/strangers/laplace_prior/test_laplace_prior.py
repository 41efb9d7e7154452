from laplace_prior import Laplace

from bayespeft.guides import FullCovariance
from bayespeft.testing import PriorContract


class TestLaplace(PriorContract):
    prior = Laplace()


class TestLaplaceUnderCorrelations(PriorContract):
    prior, guide = Laplace(), FullCovariance(init_std=(0.1, 0.1))
