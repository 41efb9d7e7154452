"""Names to classes: near misses are suggested, two meanings are refused, other packages can add."""

from __future__ import annotations

import sys

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.errors import ConfigError, UnknownNameError
from bayespeft.priors.normal import Normal


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


PRIOR = """
from torch.distributions import Independent, Laplace

from bayespeft.priors.normal import Normal


class Wide(Normal):
    scale: float = 3.0


PRIOR = Wide
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a package with a prior and entry points, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)
    caches = (registry._entry_points, registry._load, registry._found)

    def install(points, package="their_package", prior=PRIOR):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / "prior.py").write_text(prior)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        for cache in caches:
            cache.cache_clear()

    yield install
    for name in [name for name in sys.modules if name.split(".")[0].startswith("their_")]:
        del sys.modules[name]
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("value", ["their_package.prior:PRIOR", "their_package.prior:Wide", "their_package.prior"])
@pytest.mark.parametrize("name", ["wide", "Wide-Prior"])
def test_another_package_registers_a_part_that_saves_and_loads(installed, name, value, mlp, xy, tmp_path):
    installed(f"[bayespeft.priors]\n{name} = {value}\n")
    cls = registry.get("priors", name)
    assert cls.__name__ == "Wide"
    method = bayespeft.methods()["melora"].replace(latent_prior=cls(scale=2.0))
    train = TrainConfig(steps=2, batch_size=20)
    posterior = bayespeft.fit(mlp, xy, method, targets="all-linear", train=train, progress=False)
    posterior.save(tmp_path / "out")
    again = bayespeft.load(tmp_path / "out", mlp)
    assert type(again.method.latent_prior) is cls
    assert again.method == posterior.method
    assert torch.equal(again.predict(xy, draws=2).probs, posterior.predict(xy, draws=2).probs)


def test_a_name_that_is_taken_twice_is_told_with_who_took_it(installed):
    installed("[bayespeft.priors]\nnormal = their_package.prior:PRIOR\nwide = their_package.prior:PRIOR\n")
    with pytest.raises(
        UnknownNameError, match="'normal' is registered in priors more than once, by bayespeft and package their"
    ):
        registry.get("priors", "normal")
    installed("[bayespeft.priors]\nwide = their_other.prior:PRIOR\n", package="their_other")
    with pytest.raises(
        UnknownNameError, match=r"'wide' is registered in priors more than once, by package their_\w+ and package"
    ):
        registry.get("priors", "wide")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "their_package.absent:PRIOR",
            r"'wide' \(their_package.absent:PRIOR, of package their_package\).*can't be imported",
        ),
        ("their_package.prior:Laplace", "must be a class of that room: point to its PRIOR"),
    ],
)
def test_what_another_package_registers_in_vain_is_an_error_that_names_it(installed, value, message):
    installed(f"[bayespeft.priors]\nwide = {value}\n")
    with pytest.raises(ConfigError, match=message):
        registry.get("priors", "wide")
    assert Normal(scale=1.0).kind == "normal"


def test_a_file_without_its_mark_is_an_error(monkeypatch):
    monkeypatch.setitem(registry.MARKS, "adapters", "NOTHING")
    with pytest.raises(ConfigError, match="must assign NOTHING"):
        registry.get("adapters", "lora")
