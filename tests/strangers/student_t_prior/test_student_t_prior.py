from student_t_prior import StudentT

from bayespeft.testing import PriorContract


class TestStudentT(PriorContract):
    prior = StudentT()
