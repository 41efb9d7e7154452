"""Signals: a fit ends after its step, and goes on."""

from __future__ import annotations

import signal
import time

import pytest
import torch

from tests.training.resumed import fit


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_a_fit_after_its_step_and_it_goes_on_bit_equal(
    mlp, xy, tmp_path, monkeypatch, capsys, number, ends
):
    wanted = fit(mlp, xy).predict(xy, draws=2).probs
    before, steps = signal.getsignal(number), iter(range(100))
    step = torch.optim.AdamW.step

    def interrupted(self, *args, **kwargs):
        if next(steps) == 2:
            signal.raise_signal(number)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(ends) as raised:
        fit(mlp, xy, tmp_path)
    if ends is SystemExit:
        assert raised.value.code == 143
    assert f"Stopped after step 3 of 8; the state is in '{tmp_path / 'run-0.pt'}'" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert not any(module._forward_hooks for module in mlp.modules())
    monkeypatch.undo()
    assert torch.equal(fit(mlp, xy, tmp_path).predict(xy, draws=2).probs, wanted)


def test_who_asks_twice_does_not_wait(mlp, xy, tmp_path, monkeypatch):
    def stuck(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        time.sleep(20)

    monkeypatch.setattr(torch.optim.AdamW, "step", stuck)
    with pytest.raises(KeyboardInterrupt):
        fit(mlp, xy, tmp_path)
    assert not list(tmp_path.glob("*.pt"))
