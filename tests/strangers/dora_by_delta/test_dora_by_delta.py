import pytest
import torch
from dora_by_delta import DoraByDelta

from bayespeft.adapters import Dora
from bayespeft.testing import AdapterContract
from bayespeft.testing.adapters import a_site


class TestDoraByDelta(AdapterContract):
    adapter = DoraByDelta(r=3)


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_it_is_the_house_s_own(kind):
    site, contract = a_site(kind), AdapterContract()
    values = contract.values(DoraByDelta(r=3), site, 1)
    own = Dora(r=3).delta({"A": values["A"], "B": values["B"], "g": values["magnitude"]}, site)
    torch.testing.assert_close(DoraByDelta(r=3).delta(values, site), own)
