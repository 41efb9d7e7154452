import pytest
import torch
from dora_by_delta import DoraByDelta

from bayespeft.adapters import Dora
from bayespeft.testing import AdapterContract
from bayespeft.testing.adapters import a_layer


class TestDoraByDelta(AdapterContract):
    adapter = DoraByDelta(r=3)


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_it_is_the_house_s_own(kind):
    layer, contract = a_layer(kind), AdapterContract()
    values = contract.values(DoraByDelta(r=3), layer, 1)
    own = Dora(r=3).delta({"A": values["A"], "B": values["B"], "g": values["magnitude"]}, layer)
    torch.testing.assert_close(DoraByDelta(r=3).delta(values, layer), own)
