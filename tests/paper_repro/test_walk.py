"""No lower room calls what was made above it, whatever a posterior is used for and whatever the method."""

from __future__ import annotations

import pytest

from bayespeft.testing import networks
from paper_repro.house.walk import DATA, GUIDE, HONEST, USES, Walk, fitted, use, walked

METHODS = [
    "melora",
    "blob",
    "laplace_lora",
    "rosa_subspace",
    "rosa_sparse",
    "full",
    "mc_dropout",
    "ensemble",
    "swag",
    "dora",
]


@pytest.mark.parametrize("method", METHODS)
def test_nothing_climbs(method):
    data = networks.sentences()
    climbs = walked(lambda: use(method, data))
    assert climbs.climbs == climbs.through == set()
    assert climbs.interface, "guides are asked for by an interface of the rooms below"


@pytest.mark.parametrize("method", ["melora", "laplace_lora"])
@pytest.mark.parametrize("name", [name for name in USES if name != "predict"])
def test_nothing_climbs_in_what_comes_after(name, method):
    data = networks.sentences()
    climbs = walked(lambda: USES[name](method, data))
    assert climbs.climbs == climbs.through == set()


def test_honest_climbs_are_called_and_have_a_reason(monkeypatch):
    data, reasons = networks.sentences(), dict(HONEST)
    monkeypatch.setattr("paper_repro.house.walk.HONEST", {})
    climbs = walked(lambda: USES["keep"]("melora", data))
    assert {called for _, called in climbs.climbs | climbs.through} == set(reasons)
    assert all(len(reason.split()) > 5 for reason in reasons.values())


def test_walks_of_guide_and_data_enter_the_rooms_that_work_with_them():
    data = networks.sentences()
    guide, rows = Walk(GUIDE, "melora"), Walk(DATA, data)
    walked(lambda: fitted("melora", data), guide, rows)
    assert {"fitting", "guides", "variational", "training"} <= guide.rooms
    assert {"fitting", "data", "likelihoods", "training"} <= rows.rooms
    assert "report" not in guide.rooms | rows.rooms
    assert guide.climbs == rows.climbs == set()


def made(room, text):
    """What a module of a room defines."""
    scope = {"__name__": f"bayespeft.{room}.made_up"}
    exec(text, scope)
    return scope


LOW = """
class Base:
    def work(self):
        raise NotImplementedError

def call(f):
    return f()

def ask(thing):
    return thing.work()
"""
HIGH = """
class Own(Base):
    def work(self):
        return 1

class Alone:
    def work(self):
        return 1
"""


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        ("call(lambda: 1)", "climbs"),
        ("call(Own().work)", "interface"),
        ("ask(Own())", "interface"),
        ("ask(Alone())", "climbs"),
        ("call(between(lambda: 1))", "through"),
    ],
)
def test_a_closure_is_told_from_a_method_that_the_lower_room_declares(run, kind):
    low = made("utils", LOW)
    foreign = {"__name__": "elsewhere"}
    exec("def between(f):\n    return lambda: f()", foreign)
    high = made("fitting", f"def start():\n    return {run}")
    high.update({name: low[name] for name in ("Base", "call", "ask")}, between=foreign["between"])
    exec(HIGH, high)
    found = walked(high["start"])
    assert {name for name in ("climbs", "through", "interface") if getattr(found, name)} == {kind}
