"""Names to classes: near misses are suggested, two meanings are refused, other packages can add."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from bayespeft import registry
from bayespeft.errors import ConfigError, UnknownNameError


@pytest.mark.parametrize("room", registry.MARKS)
def test_every_file_of_a_room_registers_what_it_says(room):
    assert registry.names(room)
    for name in registry.names(room):
        assert registry.get(room, name) is not None


def test_unknown_names_get_suggestions_or_the_list():
    with pytest.raises(UnknownNameError, match=r"no 'melroa' among the methods. Did you mean 'melora'"):
        registry.get("methods", "melroa")
    with pytest.raises(UnknownNameError, match=r"Known: .*blob, blob_official.*map.*, melora, .*mle"):
        registry.get("methods", "qqqqqqq")
    with pytest.raises(ConfigError, match="a name is expected, got 3"):
        registry.get("methods", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rosa", "ROSA", "RoSA", "Rosa"])
@pytest.mark.parametrize("room", ["methods", "adapters"])
def test_rosa_means_two_things_in_any_capitals(room, name):
    with pytest.raises(UnknownNameError, match=r"random_subspace.*2401.04679.*sparse_low_rank"):
        registry.get(room, name)


def test_spelling_with_dashes_and_capitals_is_forgiven():
    assert registry.get("methods", "BLoB") is registry.get("methods", "blob")
    assert registry.get("guides", "mean-field") is registry.get("guides", "mean_field")


def test_another_package_can_register_through_an_entry_point(monkeypatch):
    point = EntryPoint(name="mine", value="bayespeft.adapters.lora:Lora", group="bayespeft.adapters")
    monkeypatch.setattr(registry, "_entry_points", lambda room: {"mine": point} if room == "adapters" else {})
    registry.names.cache_clear()
    try:
        assert "mine" in registry.names("adapters")
        assert registry.name_of(registry.get("adapters", "mine")) == "mine"
    finally:
        registry.names.cache_clear()


def test_a_file_without_its_mark_is_an_error(monkeypatch):
    monkeypatch.setitem(registry.MARKS, "adapters", "NOTHING")
    with pytest.raises(ConfigError, match="must assign NOTHING"):
        registry.get("adapters", "lora")
