"""Fits that merge into the network: what changes, what is kept, saved, exported, and resumed in the middle of a cycle."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.errors import AttachError, CheckpointError, ConfigError, GuideError
from bayespeft.io import checkpoint
from tests.layers.merging import MERGING, fit, weights
from tests.training.resumed import killed_after


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
        for name, value in whole.joint_guide.state_dict().items():
            assert torch.equal(resumed.joint_guide.state_dict()[name], value), name
        for name in ("0", "2", "4"):
            assert torch.equal(
                resumed.model.state_dict()[f"network.{name}.weight"], whole.model.state_dict()[f"{name}.weight"]
            )
        assert [(r.step, r.loss, r.nll) for r in resumed.history.records] == [
            (r.step, r.loss, r.nll) for r in whole.history.records
        ]
        assert resumed.history.seconds >= resumed.history.records[-1].seconds  # the killed process's time counts
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
    with pytest.raises(CheckpointError, match="not empty"):
        posterior.export_merged(tmp_path / "full")  # what else is there is not ours to replace


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


@pytest.mark.parametrize("method", ["ensemble", "swag", "laplace_core", "melora_full"])
def test_guides_that_can_not_follow_say_what_to_do(method, mlp, xy):
    with pytest.raises(GuideError, match=r"start=, set the adapter's every=None"):
        fit(mlp, xy, method, adapter=MERGING["bayes_subspace"])


def test_later_fits_build_on_a_merged_point(mlp, xy, tmp_path):
    base = copy.deepcopy(mlp)
    point = fit(mlp, xy, "mle", adapter=MERGING["bayes_subspace"])
    after = weights(mlp)
    posterior = fit(mlp, xy, "laplace_core", adapter="subspace_core", start=point)
    assert all(torch.equal(after[name], value) for name, value in mlp.state_dict().items())
    torch.testing.assert_close(posterior.predict(xy, draws=0).log_probs, point.predict(xy).log_probs)
    further = fit(mlp, xy, "mle", adapter="subspace_core", start=point)
    assert all(torch.equal(after[name], value) for name, value in mlp.state_dict().items()), (
        "trains in the subspace it is in"
    )
    assert further.history.records[-1].nll < point.history.records[-1].nll
    further.save(tmp_path / "out")
    loaded = bayespeft.load(tmp_path / "out", base)
    assert torch.equal(loaded.predict(xy).log_probs, further.predict(xy).log_probs)
    assert all(
        torch.equal(loaded.joint_guide.centers()[key], value) for key, value in further.joint_guide.centers().items()
    )


class TestOneNetworkSeveralPosteriors:
    def test_a_merge_makes_older_posteriors_refuse_and_leaves_them_saveable(self, mlp, xy, tmp_path):
        base = copy.deepcopy(mlp)
        old = fit(mlp, xy, "melora", adapter=None)
        expected = old.predict(xy).log_probs
        fit(mlp, xy)
        for use in (old.predict, old.report):
            with pytest.raises(AttachError, match="another fit has merged"):
                use(xy)
        for use in (
            old.merged_model,
            lambda: old.export_peft(tmp_path / "lora"),
            lambda: old.using("mean").__enter__(),
        ):
            with pytest.raises(AttachError, match="another fit has merged"):
                use()
        old.save(tmp_path / "old")
        assert torch.equal(bayespeft.load(tmp_path / "old", base).predict(xy).log_probs, expected)

    def test_a_network_that_was_merged_into_is_no_base(self, mlp, xy):
        posterior = fit(mlp, xy)
        with pytest.raises(ConfigError, match="merged into this network's weights"):
            fit(mlp, xy, "melora", adapter=None)
        fit(posterior.merged_model(), xy, "melora", adapter=None)

    def test_a_kept_original_serves_both(self, mlp, xy):
        old = fit(mlp, xy, "melora", adapter=None)
        expected = old.predict(xy).log_probs
        fit(mlp, xy, adapter=MERGING["rosa_subspace"].replace(keep_original=True))
        assert torch.equal(old.predict(xy).log_probs, expected)

    def test_one_at_a_time(self, mlp, xy):
        first = fit(mlp, xy, "melora", adapter=None, targets=["0"])
        second = fit(mlp, xy, "melora", adapter=None, targets=["2"])
        with first.using("mean"):
            for use in (lambda: second.predict(xy), first.merged_model, lambda: fit(mlp, xy, "mle", adapter="lora")):
                with pytest.raises(AttachError, match="'0' carries an adapter already"):
                    use()


def test_saved_changes_are_read_strictly(mlp, xy, tmp_path):
    base = copy.deepcopy(mlp)
    fit(mlp, xy, adapter=RandomSubspace(r=1, every=3, unit="steps", orthogonalise=True), steps=5).save(tmp_path / "out")
    tensors, settings = checkpoint.read(tmp_path / "out")
    before = weights(base)
    for damage in ("2/0/left", "4/0/right"):
        key = f"merged/{damage}"
        for bad in ({}, {key: torch.zeros(3, 7)}):
            changed = {name: value for name, value in tensors.items() if name != key} | bad
            checkpoint.write(tmp_path / "out", changed, settings)
            with pytest.raises(CheckpointError, match="incomplete or damaged"):
                bayespeft.load(tmp_path / "out", base)
            assert all(torch.equal(before[name], value) for name, value in base.state_dict().items())


class TestResume:
    @pytest.mark.parametrize("killed", [3, 6])
    @pytest.mark.parametrize("own", [False, True])
    def test_a_loader_that_shuffles_is_replayed(self, own, killed, mlp, xy, tmp_path, monkeypatch):
        from torch.utils.data import DataLoader, TensorDataset

        def loader() -> DataLoader:
            generator = torch.Generator().manual_seed(3) if own else None
            return DataLoader(TensorDataset(*xy), batch_size=16, shuffle=True, generator=generator)

        options = {"adapter": None, "steps": 9, "checkpoint": tmp_path / "killed", "checkpoint_every": 1}
        killed_after(monkeypatch, killed, lambda: fit(copy.deepcopy(mlp), loader(), "melora", **options))
        resumed = fit(copy.deepcopy(mlp), loader(), "melora", **options)
        for place in (None, tmp_path / "whole"):  # a state on disk changes nothing either
            whole = fit(copy.deepcopy(mlp), loader(), "melora", **(options | {"checkpoint": place}))
            for name, value in whole.joint_guide.state_dict().items():
                assert torch.equal(resumed.joint_guide.state_dict()[name], value), name

    def test_other_data_in_a_later_batch_of_a_loader_is_another_fit(self, mlp, xy, tmp_path):
        from torch.utils.data import DataLoader, TensorDataset

        x, y = xy
        fit(mlp, DataLoader(TensorDataset(x, y), 8), "mle", adapter="lora", checkpoint=tmp_path)
        for place in (0, 1):
            other = [x.clone(), y.clone()]
            other[place][-1] = 1 - other[place][-1]
            with pytest.raises(CheckpointError, match="another fit"):
                fit(mlp, DataLoader(TensorDataset(*other), 8), "mle", adapter="lora", checkpoint=tmp_path)

    def test_another_weight_of_the_base_is_another_fit(self, tmp_path):
        """Of 90,000 weights every single one counts."""
        network = nn.Sequential(nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 2))
        data = torch.randn(8, 300), torch.arange(8) % 2
        fit(network, data, "mle", adapter="lora", checkpoint=tmp_path)
        fit(network, data, "mle", adapter="lora", checkpoint=tmp_path)
        with torch.no_grad():
            network[0].weight[150, 151] += 1e-3
        with pytest.raises(CheckpointError, match="another fit"):
            fit(network, data, "mle", adapter="lora", checkpoint=tmp_path)

    def test_records_go_on_in_the_middle_of_a_stretch(self, mlp, xy, tmp_path, monkeypatch):
        options = {"adapter": None, "steps": 205}
        whole = fit(copy.deepcopy(mlp), xy, "melora", **options)
        options |= {"checkpoint": tmp_path, "checkpoint_every": 61}
        killed_after(monkeypatch, 61, lambda: fit(copy.deepcopy(mlp), xy, "melora", **options))
        resumed = fit(copy.deepcopy(mlp), xy, "melora", **options)
        assert [(r.step, r.loss) for r in resumed.history.records] == [(r.step, r.loss) for r in whole.history.records]

    def test_other_data_or_another_start_is_another_fit(self, mlp, xy, tmp_path):
        x, y = xy
        fit(mlp, xy, "mle", adapter="lora", checkpoint=tmp_path / "a")
        for other in ((x, y.flip(0)), (x + 1, y)):
            with pytest.raises(CheckpointError, match="another fit"):
                fit(mlp, other, "mle", adapter="lora", checkpoint=tmp_path / "a")
        starts = [fit(mlp, xy, "mle", adapter="lora", seed=seed) for seed in (1, 2)]
        fit(mlp, xy, "mle", adapter="lora", start=starts[0], checkpoint=tmp_path / "b")
        with pytest.raises(CheckpointError, match="another fit"):
            fit(mlp, xy, "mle", adapter="lora", start=starts[1], checkpoint=tmp_path / "b")

    def test_a_start_counts_to_the_last_element(self, mlp, xy, tmp_path):
        start = fit(mlp, xy, "mle", adapter="lora", seed=1)
        fit(mlp, xy, "mle", adapter="lora", start=start, checkpoint=tmp_path)
        fit(mlp, xy, "mle", adapter="lora", start=start, checkpoint=tmp_path)
        with torch.no_grad():
            next(iter(start.joint_guide.state_dict().values())).view(-1)[0] += 1e-5
        with pytest.raises(CheckpointError, match="another fit"):
            fit(mlp, xy, "mle", adapter="lora", start=start, checkpoint=tmp_path)

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
        assert len(list(tmp_path.glob("run-*.pt"))) == first.joint_guide.latent.members
        again = fit(mlp, xy, "ensemble", adapter=None, checkpoint=tmp_path)
        assert torch.equal(again.predict(xy).log_probs, first.predict(xy).log_probs)

    def test_states_that_no_checkpoint_holds_are_refused(self, mlp, xy, tmp_path):
        for method in ("swag", "ivon", "lora_xs_bayes"):
            with pytest.raises(ConfigError, match="checkpoint="):
                fit(mlp, xy, method, adapter=None, checkpoint=tmp_path)
        assert not list(tmp_path.iterdir())  # refused before anything is trained
        with pytest.raises(ConfigError, match="at least 1"):
            fit(mlp, xy, "melora", adapter=None, checkpoint=tmp_path, checkpoint_every=0)


class Failing(torch.utils.data.Dataset):
    """Ten pairs whose reading fails after a while."""

    def __init__(self, xy, reads: int, error: type[BaseException]) -> None:
        self.xy, self.left, self.error = xy, reads, error

    def __len__(self) -> int:
        return 10

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.left -= 1
        if not self.left:
            raise self.error("no more")
        return self.xy[0][i], self.xy[1][i]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("method", MERGING)
def test_an_exception_after_a_merge_leaves_the_weights_bit_equal(method, error, mlp, xy):
    before = weights(mlp)
    data = torch.utils.data.DataLoader(Failing(xy, 65, error), batch_size=5)
    # 8 steps of 5 rows: more than two merges are done by then.
    with pytest.raises(error):
        fit(mlp, data, method, steps=40)
    assert all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())
    # And the network is the base again, as if nothing had been.
    assert torch.equal(
        fit(mlp, xy, method).predict(xy, draws=2).log_probs,
        fit_of(before, mlp, xy, method).predict(xy, draws=2).log_probs,
    )


def fit_of(state, mlp, xy, method):
    network = copy.deepcopy(mlp)
    network.__dict__.pop("_bayespeft_merges")
    network.load_state_dict(state)
    return fit(network, xy, method)


@pytest.mark.parametrize("method", MERGING)
def test_an_error_after_training_undoes_it_too(method, mlp, xy, monkeypatch):
    before = weights(mlp)

    def fail(*_, **__):
        assert not all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())
        raise OSError("no more")

    monkeypatch.setattr(bayespeft.Posterior, "with_temperature", fail)
    chosen = bayespeft.methods()[method].replace(temperature=True)
    with pytest.raises(OSError, match="no more"):
        fit(mlp, xy, chosen, adapter=MERGING[method], validation=xy)
    assert all(torch.equal(before[name], value) for name, value in mlp.state_dict().items())


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("method", MERGING)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda posterior: pickle.loads(pickle.dumps(posterior))])
def test_a_copy_of_a_posterior_carries_its_own_network(copied, method, keep, mlp, xy, tmp_path):
    adapter = MERGING[method].replace(keep_original=keep)
    posterior = fit(mlp, xy, method, adapter=adapter)
    other = copied(posterior)
    assert other.model is not mlp
    assert torch.equal(other.predict(xy, draws=3).log_probs, posterior.predict(xy, draws=3).log_probs)
    other.save(tmp_path / "copy")
    if not keep:
        # A copy of a network that was merged into is no base either.
        with pytest.raises(ConfigError, match="merged into this network"):
            fit(copy.deepcopy(mlp), xy, method)
