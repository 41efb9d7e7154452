from vera_by_delta import VeraByDelta

from bayespeft.testing import AdapterContract


class TestVeraByDelta(AdapterContract):
    adapter = VeraByDelta(r=3)
