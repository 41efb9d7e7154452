"""Adapters that stay on a network between two calls: put on by the first `attach`, taken off by the last `detach`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from torch.optim.optimizer import register_optimizer_step_post_hook

from bayespeft.adapters.attach import check_unadapted, frozen, mode, recomputing
from bayespeft.errors import AttachError
from bayespeft.training.problem import Problem
from bayespeft.utils.threads import alone


class OnNetwork:
    """The adapters of a problem on its network, whose own parameters need no gradients meanwhile.

    Args:
        problem: the network, its adapters, and the settings of its training.
        stepped: is called after each step of any torch optimiser while the adapters are on, with that optimiser.
    """

    def __init__(self, problem: Problem, stepped: Callable[..., None]) -> None:
        self._problem, self._stepped = problem, stepped
        self._depth, self._context = 0, ExitStack()

    def attach(self) -> None:
        """Put the adapters on, unless they are on.

        Raises:
            AttachError: others are on the network, or it can't recompute activations, which the settings ask for.
        """
        self._depth += 1
        if self._depth > 1:
            return
        problem, train = self._problem, self._problem.train
        try:
            with alone(), ExitStack() as stack:
                check_unadapted(problem.model)
                stack.enter_context(problem.attachment)
                stack.enter_context(frozen(problem.model))
                stack.enter_context(mode(problem.model, dropout=train.dropout))
                stack.enter_context(recomputing(problem.model, train.checkpoint_activations))
                handle = register_optimizer_step_post_hook(self._stepped)
                stack.callback(handle.remove)
                self._context = stack.pop_all()
        except BaseException:
            self._depth = 0
            raise

    def detach(self) -> None:
        """Take the adapters off after as many calls as there were of `attach`, so that the network is as it was."""
        if self._depth == 1:
            with alone():
                self._context.close()
        self._depth = max(self._depth - 1, 0)

    def check(self) -> None:
        """Check that the adapters are on.

        Raises:
            AttachError: they are not.
        """
        if not self._depth:
            raise AttachError(
                "the adapters are not on the network: call this inside `with adaptation:`, or after attach()."
            )
