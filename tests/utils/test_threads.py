"""Threads on one network, or on several, get what they would have got one after the other."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import AttachError
from bayespeft.utils.threads import alone


@pytest.fixture(autouse=True)
def _eager() -> Iterator[None]:
    """Switch between threads as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def fitted(model: Any, data: Any, seed: int = 0, guide: str = "melora") -> bayespeft.Posterior:
    train = TrainConfig(steps=6, batch_size=20, lr=0.05)
    return bayespeft.fit(model, data, guide, targets="all-linear", train=train, seed=seed, progress=False)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Return what the calls return, each in a thread of its own, all begun together; an exception is returned, too."""
    barrier, found = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number: int) -> None:
        barrier.wait()
        try:
            found[number] = calls[number]()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_one_posterior_serves_several_threads(mlp: Any, xy: Any) -> None:
    posterior = fitted(mlp, xy)
    wanted = [posterior.predict(xy, draws=3, seed=seed, batch_size=16).probs for seed in range(4)]
    state = torch.get_rng_state()
    for _ in range(5):
        calls = [lambda s=seed: posterior.predict(xy, draws=3, seed=s, batch_size=16).probs for seed in range(4)]
        for found, right in zip(at_once(*calls), wanted, strict=True):
            torch.testing.assert_close(found, right, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in mlp.modules())


def test_two_posteriors_on_one_network_do_not_meet(mlp: Any, xy: Any) -> None:
    pair = [fitted(mlp, xy, seed=0), fitted(mlp, (xy[0], xy[1].flip(0)), seed=1, guide="blob")]
    wanted = [posterior.report(xy, draws=3, resamples=5).nll for posterior in pair]
    assert wanted[0] != wanted[1]
    for _ in range(5):
        assert at_once(*(lambda p=p: p.report(xy, draws=3, resamples=5).nll for p in pair)) == wanted


@pytest.mark.parametrize("shared", [True, False])
def test_two_fits_do_not_meet(mlp: Any, xy: Any, shared: bool) -> None:
    other = mlp if shared else torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    state = torch.get_rng_state()

    def fits() -> list[Callable[[], Any]]:
        return [
            lambda m=m, s=s, g=g: fitted(m, xy, seed=s, guide=g).predict(xy, draws=2).probs
            for m, s, g in ((mlp, 0, "melora"), (other, 1, "blob"))
        ]

    wanted = [fit() for fit in fits()]
    for _ in range(3):
        for found, right in zip(at_once(*fits()), wanted, strict=True):
            torch.testing.assert_close(found, right, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_texts_are_written_in_several_threads(llama: Any) -> None:
    rows = [{"input_ids": [2, 5 + i, 6, 3], "labels": [-100, -100, 6, 3]} for i in range(8)]
    train = TrainConfig(steps=3, batch_size=4)
    posterior = bayespeft.fit(llama, rows, likelihood="language_modelling", train=train, progress=False)
    calls = [
        lambda s=seed: posterior.generate([[5, 6]], draws=2, max_new_tokens=4, do_sample=True, seed=s).tokens
        for seed in range(3)
    ]
    wanted = [call() for call in calls]
    assert at_once(*calls) == wanted


def test_a_draw_at_work_in_another_thread_is_told_by_name(mlp: Any, xy: Any) -> None:
    posterior, entered, leave = fitted(mlp, xy), threading.Event(), threading.Event()
    wanted = posterior.predict(xy, draws=2).probs

    def use() -> None:
        with posterior.using("mean"):
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=use, name="the other")
    thread.start()
    assert entered.wait(20)
    with pytest.raises(AttachError, match=r"thread 'the other' is inside a `with posterior\.using"):
        posterior.predict(xy, draws=2)
    with pytest.raises(AttachError, match="thread 'the other'"):
        fitted(mlp, xy)
    leave.set()
    thread.join()
    assert torch.equal(posterior.predict(xy, draws=2).probs, wanted)


def test_a_block_of_any_length_leaves_other_networks_free(
    mlp: Any, bert: Any, sentences: Any, tokenizer: Any, xy: Any
) -> None:
    posterior = fitted(mlp, xy)
    with posterior.using("mean"):
        found = at_once(
            lambda: bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=TrainConfig(steps=1), progress=False)
        )
    assert isinstance(found[0], bayespeft.Posterior)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_waits_for_no_thread_that_stayed_behind() -> None:
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with alone():
            held.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    child = os.fork()
    if child == 0:  # an alarm ends a child that waits for ever
        import signal

        signal.alarm(10)
        with alone():
            os._exit(0)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
