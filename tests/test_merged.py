"""Fits that merge into the network: what changes, what is kept, saved, exported, and resumed in the middle of a cycle."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.adapters.subspace_core import SubspaceCore
from bayespeft.errors import AttachError, CheckpointError, ConfigError, GuideError

MERGING = {
    "rosa_subspace": RandomSubspace(r=2, every=3, unit="steps"),
    "bayes_subspace": SubspaceCore(r=2, every=3, unit="steps"),
}


def fit(model: nn.Module, data, method: str = "rosa_subspace", steps: int = 8, **options):
    adapter = options.pop("adapter", MERGING.get(method))
    return bayespeft.fit(
        model, data, method, adapter=adapter, targets=options.pop("targets", "all-linear"),
        train=TrainConfig(steps=steps, lr=1e-2), progress=False, **options,
    )  # fmt: skip


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("method", MERGING)
class TestMerging:
    def test_the_network_changes_in_place_by_what_was_merged(self, method, mlp, xy):
        before = weights(mlp)
        posterior = fit(mlp, xy, method, steps=4)
        assert posterior.merged.in_place
        left, right = posterior.merged.low_rank("2")
        change = mlp.state_dict()["2.weight"] - before["2.weight"]
        assert change.abs().max() > 1e-3
        torch.testing.assert_close(left @ right, change, atol=1e-5, rtol=1e-4)

    def test_a_kept_original_is_bit_equal_and_predicts_the_same(self, method, mlp, xy):
        other = copy.deepcopy(mlp)
        before = weights(mlp)
        kept = fit(mlp, xy, method, adapter=MERGING[method].replace(keep_original=True))
        assert all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())
        in_place = fit(other, xy, method)
        assert torch.equal(kept.predict(xy, draws=3).log_probs, in_place.predict(xy, draws=3).log_probs)
        with kept.using("mean") as network, in_place.using("mean") as same:
            assert torch.equal(network(xy[0]), same(xy[0]))
        assert all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())

    @pytest.mark.parametrize("keep", [True, False])
    def test_saves_and_loads_onto_the_base(self, method, keep, mlp, xy, tmp_path):
        base = copy.deepcopy(mlp)
        posterior = fit(mlp, xy, method, adapter=MERGING[method].replace(keep_original=keep))
        posterior.save(tmp_path / "out")
        loaded = bayespeft.load(tmp_path / "out", base)
        assert torch.equal(loaded.predict(xy, draws=3).log_probs, posterior.predict(xy, draws=3).log_probs)
        loaded.save(tmp_path / "again")
        if not keep:  # the network that was merged into is no longer the base
            with pytest.raises(CheckpointError, match="other values"):
                bayespeft.load(tmp_path / "out", mlp)

    def test_the_merged_model_is_the_posterior_mean(self, method, mlp, xy):
        posterior = fit(mlp, xy, method)
        with posterior.using("mean") as network:
            expected = network(xy[0])
        plain = posterior.merged_model()
        assert not any(module._forward_hooks for module in plain.modules())
        torch.testing.assert_close(plain(xy[0]), expected, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("killed", [2, 4, 7])
    def test_a_killed_run_resumes_in_the_middle_of_a_cycle_bit_equal(self, method, killed, mlp, xy, tmp_path):
        whole = fit(copy.deepcopy(mlp), xy, method, steps=8)

        class Killed(Exception):
            pass

        class Dies(nn.Module):
            """The network, which dies after so many training steps."""

            def __init__(self, network: nn.Module) -> None:
                super().__init__()
                self.network, self.calls = network, 0

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.calls += torch.is_grad_enabled()
                if self.calls > killed:
                    raise Killed
                return self.network(x)

        class Lives(Dies):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.network(x)

        options = {"checkpoint": tmp_path / "state", "checkpoint_every": 1}
        with pytest.raises(Killed):
            fit(Dies(copy.deepcopy(mlp)), xy, method, **options)
        assert (tmp_path / "state" / "run-0.pt").is_file()
        resumed = fit(Lives(copy.deepcopy(mlp)), xy, method, **options)
        for name, value in whole.approximation.state_dict().items():
            assert torch.equal(resumed.approximation.state_dict()[name], value), name
        for name in ("0", "2", "4"):
            assert torch.equal(
                resumed.model.state_dict()[f"network.{name}.weight"], whole.model.state_dict()[f"{name}.weight"]
            )
        assert [(r.step, r.loss, r.nll) for r in resumed.history.records] == [
            (r.step, r.loss, r.nll) for r in whole.history.records
        ]
        assert torch.equal(resumed.predict(xy, draws=3).log_probs, whole.predict(xy, draws=3).log_probs)


def test_conv1d_merges_too(gpt2, tokenizer, questions, tmp_path):
    base = copy.deepcopy(gpt2)
    posterior = fit(gpt2, questions, targets=["c_attn", "c_proj"], tokenizer=tokenizer)
    expected = posterior.predict(questions).log_probs
    posterior.save(tmp_path / "out")
    assert torch.equal(
        bayespeft.load(tmp_path / "out", base, tokenizer=tokenizer).predict(questions).log_probs, expected
    )
    posterior.export_merged(tmp_path / "full")
    plain = type(gpt2).from_pretrained(tmp_path / "full")
    with posterior.using("mean") as network, torch.no_grad():
        ids = torch.arange(4, 12)[None]
        torch.testing.assert_close(plain(ids).logits, network(ids).logits, atol=1e-4, rtol=1e-4)
    posterior.export_merged(tmp_path / "full")  # over the earlier one


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_history_exports_as_a_lora_onto_the_base(bert, tokenizer, sentences, tmp_path):
    peft = pytest.importorskip("peft")
    base = copy.deepcopy(bert)
    adapter = RandomSubspace(r=1, every=3, unit="steps", orthogonalise=True)
    posterior = fit(bert, sentences, adapter=adapter, targets="auto", tokenizer=tokenizer, steps=5)
    posterior.export_peft(tmp_path / "lora")
    expected = posterior.predict(sentences).log_probs
    network = peft.PeftModel.from_pretrained(base, tmp_path / "lora").eval()
    batch = tokenizer([row["text"] for row in sentences], padding=True, return_tensors="pt")
    with torch.no_grad():
        found = torch.log_softmax(
            network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits, -1
        )
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


def test_a_history_longer_than_the_weight_is_given_up_and_the_weight_saved(mlp, xy, tmp_path):
    base = copy.deepcopy(mlp)
    posterior = fit(mlp, xy, steps=30)
    assert posterior.merged.changes["0"] is None
    posterior.save(tmp_path / "out")
    loaded = bayespeft.load(tmp_path / "out", base)
    assert torch.equal(loaded.predict(xy).log_probs, posterior.predict(xy).log_probs)
    with pytest.raises(CheckpointError, match="export_merged"):
        posterior.export_peft(tmp_path / "lora")


def test_moments_are_forgotten_and_the_learning_rate_is_not(mlp, xy, monkeypatch):
    from bayespeft.inference import svi

    seen = []
    original = svi.Refresher.__call__

    def spy(self, done, optimiser):
        rate = optimiser.param_groups[0]["lr"]
        original(self, done, optimiser)
        seen.append((done, len(optimiser.state), rate, optimiser.param_groups[0]["lr"]))

    monkeypatch.setattr(svi.Refresher, "__call__", spy)
    fit(mlp, xy)
    assert [done for done, *_ in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert all((count == 0) == (done % 3 == 0) for done, count, *_ in seen)
    assert all(before == after for *_, before, after in seen)
    rates = [rate for *_, rate in seen]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1] > 0


def test_no_re_split_leaves_the_network_alone(mlp, xy):
    before = weights(mlp)
    posterior = fit(mlp, xy, adapter=RandomSubspace(r=2, every=None))
    assert posterior.merged is None
    assert all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())


def test_re_splits_count_in_epochs_of_the_data(mlp, xy):
    posterior = fit(mlp, xy, adapter=RandomSubspace(r=1, every=1, start="zero", orthogonalise=True), steps=9)
    # 60 rows in batches of 16 are 4 steps an epoch: merges after 4 and 8.
    assert posterior.merged.low_rank("2")[0].shape[1] == 2
    assert posterior.history.refresh_seconds > 0


@pytest.mark.parametrize("method", ["ensemble", "swag", "laplace_core", "melora_full"])
def test_guides_that_can_not_follow_say_what_to_do(method, mlp, xy):
    with pytest.raises(GuideError, match=r"start=, set the adapter's every=None"):
        fit(mlp, xy, method, adapter=MERGING["bayes_subspace"])


def test_laplace_builds_on_a_merged_point(mlp, xy):
    point = fit(mlp, xy, "mle", adapter=MERGING["bayes_subspace"])
    after = weights(mlp)
    posterior = fit(mlp, xy, "laplace_core", adapter="subspace_core", start=point)
    assert all(torch.equal(after[name], value) for name, value in mlp.state_dict().items())
    torch.testing.assert_close(posterior.predict(xy, draws=0).log_probs, point.predict(xy).log_probs)
    with pytest.raises(GuideError, match="merged into the network's weights"):
        fit(mlp, xy, "mle", adapter="subspace_core", start=point)


def test_merging_a_draw_needs_a_weight_that_can_take_it(mlp, xy):
    posterior = fit(mlp, xy, "mle", adapter="lora")
    mlp[2].weight.data = mlp[2].weight.data.half()
    with pytest.raises(AttachError, match="float16"):
        posterior.merged_model()


class TestResume:
    def test_another_fit_is_refused(self, mlp, xy, tmp_path):
        fit(mlp, xy, "melora", adapter=None, checkpoint=tmp_path, checkpoint_every=4)
        with pytest.raises(CheckpointError, match="another fit"):
            fit(mlp, xy, "melora", adapter=None, steps=9, checkpoint=tmp_path)
        (tmp_path / "run-0.pt").write_bytes(b"torn")
        with pytest.raises(CheckpointError, match="damaged"):
            fit(mlp, xy, "melora", adapter=None, checkpoint=tmp_path)

    def test_a_finished_run_is_not_run_again(self, mlp, xy, tmp_path):
        first = fit(mlp, xy, "melora", adapter=None, checkpoint=tmp_path)
        again = fit(mlp, xy, "melora", adapter=None, checkpoint=tmp_path)
        assert again.history.records == first.history.records
        assert torch.equal(again.predict(xy).log_probs, first.predict(xy).log_probs)

    def test_each_member_of_an_ensemble_has_its_own_state(self, mlp, xy, tmp_path):
        first = fit(mlp, xy, "ensemble", adapter=None, checkpoint=tmp_path)
        assert len(list(tmp_path.glob("run-*.pt"))) == first.approximation.latent.members
        again = fit(mlp, xy, "ensemble", adapter=None, checkpoint=tmp_path)
        assert torch.equal(again.predict(xy).log_probs, first.predict(xy).log_probs)

    def test_states_that_no_checkpoint_holds_are_refused(self, mlp, xy, tmp_path):
        with pytest.raises(ConfigError, match="checkpoint="):
            fit(mlp, xy, "swag", adapter=None, checkpoint=tmp_path)
        with pytest.raises(ConfigError, match="at least 1"):
            fit(mlp, xy, "melora", adapter=None, checkpoint=tmp_path, checkpoint_every=0)
