"""Networks are taken out of wrappers that compute the same, and refused where adapters can't follow."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft.config import TrainConfig
from bayespeft.errors import AttachError, ConfigError
from bayespeft.layers.fingerprint import fingerprint
from bayespeft.layers.layer import all_layers
from bayespeft.layers.network import bare, eager

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
DATA = (X, (X[:, 0] > 0).long())
TRAIN = TrainConfig(steps=4, batch_size=8, lr=1e-2)


def fitted(model, data=DATA, **options):
    options = {"targets": "all-linear", "train": TRAIN, "progress": False, **options}
    return bayespeft.fit(model, data, **options)


def compiled_before(model):
    """A graph that was made, and used, without hooks."""
    wrapped = torch.compile(model, backend="eager")
    with torch.no_grad():
        wrapped(X)
    return wrapped


def compiled_in_place(model):
    model.compile(backend="eager")
    with torch.no_grad():
        model(X)
    return model


def compiled_inside(model):
    """A part of the network that was compiled, as regional compilation does."""
    model[0] = torch.compile(model[0], backend="eager")
    with torch.no_grad():
        model(X)
    return model


def compiled_function(model):
    """A function of the network's own that was compiled: nothing on the network tells."""

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model
            self.run = torch.compile(lambda x: self.inner(x), backend="eager")

        def forward(self, x):
            return self.run(x)

    outer = Outer()
    with torch.no_grad():
        outer(X)
    return outer


@pytest.mark.parametrize(
    "wrap", [compiled_before, compiled_in_place, compiled_inside, compiled_function, nn.DataParallel]
)
def test_a_wrapped_network_predicts_what_the_network_itself_does(wrap, mlp):
    plain = fitted(mlp).predict(X, draws=3).log_probs
    base = mlp(X).log_softmax(-1)
    torch._dynamo.reset()
    wrapped = fitted(wrap(mlp)).predict(X, draws=3).log_probs
    assert torch.equal(wrapped, plain)
    assert (plain.exp().mean(0) - base.exp().mean(0)).abs().max() > 1e-3  # the base would be told apart


def test_posterior_of_a_wrapped_network_is_loaded_onto_the_plain_one(mlp, tmp_path):
    posterior = fitted(torch.compile(mlp, backend="eager"))
    assert posterior.model is mlp
    posterior.save(tmp_path / "saved")
    for network in (mlp, nn.DataParallel(mlp)):
        loaded = bayespeft.load(tmp_path / "saved", network)
        assert torch.equal(loaded.predict(X).log_probs, posterior.predict(X).log_probs)


def test_a_graph_of_the_network_follows_a_draw_inside_using_and_not_outside(mlp):
    posterior = fitted(mlp)
    graph = compiled_before(mlp)
    with torch.no_grad():
        base = mlp(X)
    with posterior.using(1):
        drawn = mlp(X)
        assert torch.equal(graph(X), drawn)
    assert not torch.allclose(drawn, base)
    assert torch.equal(graph(X), base)


def test_eager_blocks_that_overlap_end_when_the_last_one_does(mlp):
    """As those of two threads do."""
    counter = torch._dynamo.testing.CompileCounter()
    graph = torch.compile(mlp, backend=counter)
    first, second = eager(), eager()
    for step in (first.__enter__, second.__enter__, lambda: first.__exit__(None, None, None)):
        step()
        graph(X)
        assert counter.frame_count == 0
    second.__exit__(None, None, None)
    graph(X)
    assert counter.frame_count == 1


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("bert-base-uncased", r"is a name.*from_pretrained\('bert-base-uncased'"),
        (nn.Linear, r"is the class Linear: pass a network of that class"),
        (None, r"NoneType is no torch.nn.Module"),
    ],
)
def test_what_is_no_network_is_refused_with_what_to_pass(model, complaint):
    uses = [lambda: fitted(model), lambda: bare(model)]
    # Of None `load` says which network to pass.
    for use in uses if model is None else [*uses, lambda: bayespeft.load("nowhere", model)]:
        with pytest.raises(ConfigError, match=complaint):
            use()


def test_what_torchscript_compiled_is_refused_whole_and_left_as_it_is_inside(mlp):
    """Modules of TorchScript take no hooks of the kind that adapters are."""
    for network in (torch.jit.script(mlp), torch.jit.trace(mlp, X)):
        with pytest.raises(AttachError, match=r"was compiled by TorchScript.*pass the module that"):
            fitted(network)
    inside = nn.Sequential(
        nn.Linear(5, 5), torch.jit.script(nn.Sequential(nn.Linear(5, 5), nn.Tanh())), nn.Linear(5, 2)
    )
    assert set(all_layers(inside)) == {"0", "2"}
    assert [p.layer.name for p in fitted(inside.eval()).placements] == ["0", "2"]


def test_adapters_of_peft_are_refused_wherever_they_are(bert):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["query"])
    wrapped = peft.get_peft_model(bert, config)
    for network in (wrapped, wrapped.base_model.model, nn.Sequential(wrapped)):
        with pytest.raises(AttachError, match=r"adapters of peft already.*merge_and_unload.*import_lora"):
            bare(network)
    assert bare(wrapped.merge_and_unload()) is bert


def test_weights_that_are_not_there_are_refused():
    with pytest.raises(AttachError, match=r"'0.weight' is on the meta device.*without offloading"):
        bare(nn.Sequential(nn.Linear(3, 2, device="meta")))
    with pytest.raises(AttachError, match=r"'0.weight' has no shape yet"):
        bare(nn.Sequential(nn.LazyLinear(2)))


def test_a_device_map_works_and_offloaded_weights_are_refused(bert, tokenizer, sentences, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    bert.save_pretrained(tmp_path / "base")
    rows, train = sentences[:8], TrainConfig(steps=2, batch_size=4)

    def probs(**options):
        model = type(bert).from_pretrained(tmp_path / "base", **options)
        posterior = bayespeft.fit(model, rows, "blob", tokenizer=tokenizer, train=train, progress=False)
        return posterior.predict(rows, draws=2).probs

    assert torch.equal(probs(device_map="auto"), probs())
    places = {"bert": "cpu", "classifier": "disk"}
    for offloaded in (
        accelerate.cpu_offload(copy.deepcopy(bert), torch.device("cpu")),
        type(bert).from_pretrained(tmp_path / "base", device_map=places, offload_folder=tmp_path / "offload"),
    ):
        with pytest.raises(AttachError, match=r"is on the meta device: its values are offloaded to memory or disk"):
            bare(offloaded)


def test_weights_that_are_sharded_are_refused_by_fit_and_read_whole_by_adapt(mlp, tmp_path):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    whole = copy.deepcopy(mlp)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        sharded = fully_shard(mlp, mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(AttachError, match=r"is a DTensor, sharded over processes, .* Take bayespeft\.adapt"):
            bare(sharded)
        assert fingerprint(sharded) == fingerprint(whole)
        layers = all_layers(sharded)
        for name, layer in all_layers(whole).items():
            assert torch.equal(layers[name].weight(), layer.weight())
            assert torch.equal(layers[name].bias(), layer.bias())
            with pytest.raises(AttachError, match="sharded over processes, and can't be merged into"):
                layers[name].check_mergeable()
        found = []
        for model in (sharded, whole):
            adaptation = bayespeft.adapt(model, DATA, len(X), "dora", targets="all-linear", train=TRAIN)
            with adaptation:
                adaptation.loss(DATA).backward()
            found.append([parameter.grad for parameter in adaptation.module.parameters()])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other)
    finally:
        torch.distributed.destroy_process_group()


def test_distributed_wrapper_is_taken_off_in_a_group_of_one_and_refused_in_larger_ones(mlp, tmp_path, monkeypatch):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(mlp)
        assert bare(torch.compile(wrapped, backend="eager")) is mlp

        class Pair:
            def size(self):
                return 2

        monkeypatch.setattr(wrapped, "process_group", Pair())
        with pytest.raises(AttachError, match=r"over 2 processes.*\.module"):
            bare(wrapped)
    finally:
        torch.distributed.destroy_process_group()


def test_what_runs_in_the_place_of_the_adapted_layers_is_an_error_of_prediction(mlp):
    posterior = fitted(mlp)
    mlp.forward = copy.deepcopy(mlp).forward  # runs other modules than those that carry the adapters
    with pytest.raises(AttachError, match=r"none of the 3 adapted layers ran"):
        posterior.predict(X)
    with pytest.raises(AttachError, match=r"never ran as a module"):
        fitted(mlp)
