"""A trunk is run once for each example, and training is what it would be if it were run in every epoch."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import Targets, TrainConfig
from bayespeft.data.source import source_of
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.training import kept_outputs, kept_trunk
from bayespeft.training.kept_trunk import KeptTrunk
from bayespeft.training.steps import Steps

STEPS = {"train": TrainConfig(steps=12, batch_size=5, lr=1e-2), "progress": False}
TOP = Targets(layers=(1, 1))


def blocks(model):
    return next(m for m in model.modules() if isinstance(m, nn.ModuleList))


def rows_of_first_block(model, monkeypatch):
    """Return a list that fills with how many rows the first block is given; no hook, which would be seen."""
    seen, forward = [], type(blocks(model)[0]).forward

    def counted(self, x, *args, **kwargs):
        if self is blocks(model)[0]:
            seen.append(len(x))
        return forward(self, x, *args, **kwargs)

    monkeypatch.setattr(type(blocks(model)[0]), "forward", counted)
    return seen


@pytest.mark.parametrize(("network", "method"), [("bert", "melora"), ("llama", "blob"), ("bert", "vbll")])
def test_a_fit_is_that_of_running_everything(request, network, method, tokenizer, monkeypatch):
    model = request.getfixturevalue(network)
    data = request.getfixturevalue("sentences" if network == "bert" else "questions")

    def fitted():
        targets = None if method == "vbll" else TOP
        found = bayespeft.fit(model, data, method, tokenizer=tokenizer, targets=targets, **STEPS)
        return found.joint_guide.state_dict()

    with monkeypatch.context() as patch:
        patch.setattr(KeptTrunk, "logits", lambda self, batch, run: run())
        wanted = fitted()
    found = fitted()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


@pytest.fixture
def problem(bert, sentences, tokenizer):
    method = choose_method("melora", None, TrainConfig(batch_size=4))
    with assemble(bert, source_of(sentences), method, tokenizer=tokenizer, targets=TOP) as made:
        made.problem.model.eval().requires_grad_(False)
        with made.problem.trunk_kept():
            yield made.problem


def outputs(problem, batch):
    """Return logits at the means, as the problem makes them and without its trunk."""
    joint = problem.joint_guide
    problem.attachment.bind(joint.folded_weights({}, len(batch)))
    with torch.no_grad():
        return problem.logits(batch), problem.likelihood.logits(problem.model, batch)


def epoch(problem):
    """Run all examples once, shuffled."""
    for batch in problem.examples.batches(4, torch.Generator().manual_seed(0)):
        torch.testing.assert_close(*outputs(problem, batch), atol=1e-5, rtol=1e-5)


def run_by_the_problem(problem, monkeypatch, batches=None):
    """Return how many rows the trunk is run on where the problem runs all of its batches, or those given."""
    with monkeypatch.context() as patch:
        seen = rows_of_first_block(problem.model, patch)
        for batch in batches or problem.examples.batches(4, torch.Generator().manual_seed(1)):
            problem.attachment.bind(problem.joint_guide.folded_weights({}, len(batch)))
            with torch.no_grad():
                problem.logits(batch)
        return sum(seen)


def test_the_trunk_is_run_once_for_each_example(problem, monkeypatch):
    twice = run_by_the_problem(problem, monkeypatch) + run_by_the_problem(problem, monkeypatch)
    # The first batch that is run from the trunk on shows that it may be, by running all of it once more.
    assert twice == len(problem.examples) + 4
    assert run_by_the_problem(problem, monkeypatch) == 0
    epoch(problem)
    lengths = {
        batch.inputs["input_ids"].shape[1] for batch in problem.examples.batches(4, torch.Generator().manual_seed(2))
    }
    assert len(lengths) > 1, "padding differs from batch to batch"


def test_other_tokens_under_the_same_index_are_run(problem, monkeypatch):
    epoch(problem)
    batch = next(problem.examples.batches(4))
    ids = batch.inputs["input_ids"].clone()
    ids[0, 0] += 1
    other = replace(batch, inputs={**batch.inputs, "input_ids": ids})
    found, wanted = outputs(problem, other)
    torch.testing.assert_close(found, wanted)
    assert not torch.equal(wanted, outputs(problem, batch)[1])
    assert run_by_the_problem(problem, monkeypatch) == len(problem.examples), (
        "indices name no examples: nothing is kept"
    )


def test_changed_weights_are_met(problem, monkeypatch):
    epoch(problem)
    with torch.no_grad():
        blocks(problem.model)[0].output.dense.weight.mul_(1.5)
    epoch(problem)
    assert run_by_the_problem(problem, monkeypatch) == 4, "the proof"
    with torch.no_grad():
        blocks(problem.model)[1].output.dense.weight.mul_(1.5)
    epoch(problem)
    assert run_by_the_problem(problem, monkeypatch) == 0, "what is above the trunk changes nothing that is kept"


def test_nothing_is_kept_where_it_would_not_be_the_same_or_be_seen(problem, monkeypatch):
    epoch(problem)
    blocks(problem.model)[0].train()
    assert run_by_the_problem(problem, monkeypatch) == len(problem.examples)
    blocks(problem.model)[0].eval()
    handle = blocks(problem.model)[0].attention.register_forward_hook(lambda *_: None)
    assert run_by_the_problem(problem, monkeypatch) == len(problem.examples)
    handle.remove()
    weight = blocks(problem.model)[0].output.dense.weight.requires_grad_(True)
    assert run_by_the_problem(problem, monkeypatch) == len(problem.examples)
    weight.requires_grad_(False)
    batch = next(problem.examples.batches(4))
    assert run_by_the_problem(problem, monkeypatch, [replace(batch, index=batch.index[:2])]) == 4
    assert run_by_the_problem(problem, monkeypatch) < len(problem.examples)


def test_what_memory_has_no_room_for_is_kept_on_disk(problem, monkeypatch):
    monkeypatch.setattr(kept_outputs, "free_memory", lambda _: 1000)
    assert run_by_the_problem(problem, monkeypatch) == len(problem.examples)
    epoch(problem)
    assert run_by_the_problem(problem, monkeypatch) == 0


def test_a_disk_that_is_full_all_at_once_keeps_nothing(problem, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_outputs, "free_memory", lambda _: 1000)
    monkeypatch.setattr(kept_outputs.OnDisk, "keep", full)
    for _ in range(2):
        assert run_by_the_problem(problem, monkeypatch) == len(problem.examples)


def test_without_room_nothing_is_kept(problem, monkeypatch):
    monkeypatch.setattr(kept_trunk, "room_for", lambda *_: None)
    for _ in range(2):
        assert run_by_the_problem(problem, monkeypatch) == len(problem.examples)


def test_outputs_that_differ_switch_it_off(problem, monkeypatch):
    epoch_of_rows = run_by_the_problem(problem, monkeypatch)
    monkeypatch.setattr(kept_trunk, "same_outputs", lambda *_: False)
    for _ in range(2):
        assert run_by_the_problem(problem, monkeypatch) == epoch_of_rows


def test_adapters_in_every_block_leave_nothing_to_keep(bert, sentences, tokenizer, monkeypatch):
    method = choose_method("melora", None, TrainConfig(batch_size=4))
    with assemble(bert, source_of(sentences), method, tokenizer=tokenizer) as made, made.problem.trunk_kept():
        for _ in range(2):
            assert run_by_the_problem(made.problem, monkeypatch) == len(sentences)


@pytest.mark.parametrize("killed", [3, 11], ids=["in the first epoch", "in the third"])
@pytest.mark.parametrize("method", ["melora", "vbll"])
def test_a_run_that_is_taken_up_again_goes_on_bit_by_bit(
    method, killed, bert, tokenizer, sentences, tmp_path, monkeypatch
):
    """Outputs of a row differ in their last bits with the batch that it was run in: the same ones are kept again."""
    targets = None if method == "vbll" else TOP
    options = {"tokenizer": tokenizer, "targets": targets, **STEPS}
    wanted = bayespeft.fit(bert, sentences, method, **options).joint_guide.state_dict()
    after = Steps.after

    def kill(self):
        after(self)
        if self.done == killed:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "after", kill)
        with pytest.raises(KeyboardInterrupt):
            bayespeft.fit(bert, sentences, method, checkpoint=tmp_path, checkpoint_every=2, **options)
    found = bayespeft.fit(bert, sentences, method, checkpoint=tmp_path, checkpoint_every=2, **options)
    assert all(torch.equal(found.joint_guide.state_dict()[name], value) for name, value in wanted.items())


def test_nothing_is_kept_behind_a_fit(bert, sentences, tokenizer, monkeypatch):
    made, initialise = [], KeptTrunk.__init__

    def noted(self, *args):
        initialise(self, *args)
        made.append(weakref.ref(self))

    monkeypatch.setattr(KeptTrunk, "__init__", noted)
    posterior = bayespeft.fit(bert, sentences, "melora", tokenizer=tokenizer, targets=TOP, **STEPS)
    gc.collect()
    assert posterior.history.steps == 12
    assert len(made) == 1
    assert made[0]() is None
