from planar_flow import PlanarFlow

from bayespeft.testing import GuideContract


class TestPlanarFlow(GuideContract):
    guide = PlanarFlow()
