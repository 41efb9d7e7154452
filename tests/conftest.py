"""Tiny random networks and their data as fixtures; profiles of the property tests; one case of each test with --fast."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import nn
from transformers import RobertaConfig, RobertaForSequenceClassification

from bayespeft.testing import networks

# Examples are the same in each run unless `make fuzz` looks for new ones: what passes on a branch passes on main.
settings.register_profile("suite", max_examples=25, deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", max_examples=500, deadline=None, derandomize=False, print_blob=True)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the fast half: whatever calls another package is called, but not with each method, network and family again."""
    parser.addoption("--fast", action="store_true", help="run one case of each parametrised test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--fast`, keep one case of each test: one that its name chooses, so that all methods have their turn somewhere."""
    if not config.getoption("--fast"):
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = {id(same[zlib.crc32(name.encode()) % len(same)]) for name, same in cases.items()}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny networks gain nothing from a second thread, and threads that wait spin."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return networks.tokenizer()


@pytest.fixture
def bert() -> Any:
    return networks.bert()


@pytest.fixture
def llama() -> Any:
    return networks.llama()


@pytest.fixture
def gpt2() -> Any:
    return networks.gpt2()


@pytest.fixture
def roberta() -> Any:
    """Its head is two layers deep."""
    config = RobertaConfig(
        vocab_size=64,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=0,
        num_labels=2,
    )
    return RobertaForSequenceClassification(config).eval()


@pytest.fixture
def own_random_state() -> Iterator[None]:
    """peft draws from torch's global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def mlp() -> nn.Sequential:
    return networks.mlp()


@pytest.fixture
def xy() -> tuple[torch.Tensor, torch.Tensor]:
    return networks.xy()


@pytest.fixture
def sentences() -> list[dict[str, Any]]:
    return networks.sentences()


@pytest.fixture
def questions() -> list[dict[str, Any]]:
    return networks.questions()
