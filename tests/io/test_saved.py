"""A posterior that an earlier version of this package saved is read as it was: one folder for each format.

`python -m tests.io.test_saved` writes that of the present format, once, when the format is new.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.io.checkpoint import FORMAT
from bayespeft.testing import networks

FIXTURES = Path(__file__).parent.parent / "fixtures"
EXPECTED = "expected.json"


def written(folder: Path) -> None:
    """Fit a posterior, save it, and write its probabilities beside it."""
    folder.mkdir(parents=True)
    train = TrainConfig(steps=60, batch_size=20, lr=0.02)
    posterior = bayespeft.fit(
        networks.mlp(), networks.xy(), "melora", targets="all-linear", train=train, progress=False
    )
    posterior.save(folder / "posterior")
    found = posterior.predict(networks.xy(), draws=3).probs[:8]
    (folder / EXPECTED).write_text(json.dumps(found.tolist(), indent=1) + "\n")


def test_the_present_format_is_among_those_that_are_kept():
    assert (FIXTURES / f"posterior-{FORMAT}" / EXPECTED).is_file()


@pytest.mark.parametrize("folder", sorted(FIXTURES.glob("posterior-*")), ids=lambda folder: folder.name)
def test_a_posterior_of_each_format_loads_and_predicts_as_it_did(folder):
    posterior = bayespeft.load(folder / "posterior", networks.mlp())
    found = posterior.predict(networks.xy(), draws=3).probs[:8]
    # Other processors and versions of torch round otherwise.
    assert torch.allclose(
        found, torch.tensor(json.loads((folder / EXPECTED).read_text()), dtype=found.dtype), atol=1e-5
    )
    assert posterior.method.name == "melora"


if __name__ == "__main__":
    written(FIXTURES / f"posterior-{FORMAT}")
