from student_t_guide import StudentT

from bayespeft.priors import FanIn
from bayespeft.testing import GuideContract


class TestByTheFormulaThatItRegisters(GuideContract):
    guide = StudentT()


class TestInLighterTails(GuideContract):
    guide, prior = StudentT(df=30.0, noise="flipout"), FanIn(scale=1.0)
