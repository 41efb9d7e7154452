"""In which order layers have their rows, and that a draw for each example is then the network of that draw."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.attach import Attachment, Placement
from bayespeft.adapters.lora import Lora
from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError
from bayespeft.fitting.orders import orders
from bayespeft.layers.attention import query_and_value
from bayespeft.layers.layer import all_layers
from bayespeft.layers.weights import Flipped, Grouped, Shared
from paper_repro.architectures.case import TASKS, built
from paper_repro.architectures.inputs import data_for


class Rows(nn.Module):
    """Gives its layer the examples of (examples, tokens, features) in some shape."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(self.shape(x))


SHAPES = {
    "first": lambda x: x,
    "grouped": lambda x: x.flatten(0, 1),
    "alternating": lambda x: x.transpose(0, 1),
    "mixed": lambda x: x.flatten(0, 1)[x.flatten(0, 1)[:, 0] > 0],
}
ALSO = {
    "grouped": [lambda x: x.flatten(0, 1)[None], lambda x: x.unflatten(1, (3, -1)).flatten(0, 1)],
    "alternating": [lambda x: x.transpose(0, 1).flatten(0, 1), lambda x: x.transpose(0, 1)[:, :, None]],
    "mixed": [
        lambda x: x.flatten(0, 1).roll(1, 0),
        lambda x: x[:, 0].repeat(2, 1)[:3],
        lambda x: x.mean(0, keepdim=True),
        lambda x: x.flip(0),
        lambda x: x[x[:, 0, 0].argsort()],
        lambda x: x[x[:, 0, 0].argsort(descending=True)].flatten(0, 1),
    ],
}
CASES = [(order, shape) for order in SHAPES for shape in [SHAPES[order], *ALSO.get(order, [])]]


def told(model, x):
    return orders({"layer": model.layer}, lambda batch: model(batch.inputs), Batch(x, None, torch.arange(len(x))))[
        "layer"
    ]


@pytest.mark.parametrize(("order", "shape"), CASES)
@pytest.mark.parametrize("examples", [1, 2, 5])
def test_the_order_is_told_by_what_changes(order, shape, examples):
    x = torch.randn(examples, 12, 4, generator=torch.Generator().manual_seed(0))
    assert told(Rows(shape), x) == order


def test_as_many_positions_as_examples_hide_nothing():
    x = torch.randn(2, 2, 4)
    assert told(Rows(SHAPES["first"]), x) == "first"
    assert told(Rows(SHAPES["alternating"]), x) == "alternating"


def test_two_examples_that_are_alike_tell_it_too():
    x = torch.randn(1, 6, 4).repeat(2, 1, 1)
    assert [told(Rows(SHAPES[order]), x) for order in SHAPES] == list(SHAPES)


def test_a_layer_that_never_runs_or_has_no_example_in_it_is_mixed():
    model = Rows(lambda _: torch.ones(7, 4))
    assert told(model, torch.randn(2, 6, 4)) == "mixed"
    batch = Batch(torch.randn(2, 6, 4), None, torch.arange(2))
    assert orders({"layer": nn.Linear(4, 3)}, lambda _: None, batch) == {"layer": "mixed"}


def packed(x, mask):
    return x[mask.bool()]


def test_rows_that_are_packed_without_padding_are_mixed_though_the_first_examples_are_as_long():
    # 2 of 12, 2 of 6: 36 rows, as many for each of four as if they were grouped.
    x = torch.randn(4, 12, 4, generator=torch.Generator().manual_seed(0))
    x[2:, 6:] = 0
    assert told(Rows(lambda x: packed(x, x[:, :, 0] != 0)), x) == "mixed"


@pytest.mark.parametrize("left", [False, True])
def test_rows_that_are_packed_by_a_mask_are_mixed_though_all_examples_seen_are_as_long(left):
    layer, x = nn.Linear(4, 3), torch.randn(2, 12, 4)
    mask = torch.ones(2, 12, dtype=torch.int64)
    if left:
        mask[:, :3] = 0
    batch = Batch({"inputs_embeds": x, "attention_mask": mask}, None, torch.arange(2))
    found = orders(
        {"layer": layer}, lambda b: layer(packed(b.inputs["inputs_embeds"], b.inputs["attention_mask"])), batch
    )
    assert found == {"layer": "mixed"}
    found = orders({"layer": layer}, lambda b: layer(b.inputs["inputs_embeds"].flatten(0, 1)), batch)
    assert found == {"layer": "grouped"}


def test_a_scale_of_the_whole_batch_and_a_cut_to_the_longest_leave_examples_in_place():
    x = torch.randn(3, 12, 4, generator=torch.Generator().manual_seed(0))
    assert told(Rows(lambda x: x + 0.1 * x.mean(0)), x) == "first"
    x[0, 6:] = 0
    assert told(Rows(lambda x: x[:, : int((x[:, :, 0] != 0).sum(1).max())]), x) == "first"


NETWORKS = [
    ("causal", "OPTForCausalLM", "opt", r".*fc[12]", "grouped"),
    ("image", "SwinForImageClassification", "swin", None, "grouped"),
    ("sequence", "XLNetForSequenceClassification", "xlnet", r".*layer_[12]", "alternating"),
    ("sequence", "LongformerForSequenceClassification", "longformer", None, "alternating"),
]


@pytest.mark.parametrize("examples", [2, 4])
@pytest.mark.parametrize(("task", "name", "kind", "pattern", "order"), NETWORKS, ids=[n[1] for n in NETWORKS])
@torch.no_grad()
def test_examples_with_draws_of_their_own_are_each_the_network_of_that_draw(task, name, kind, pattern, order, examples):
    # In double precision: what rounds is blown up by a deep random network.
    model = built(task, name, kind).double()
    rows = data_for(task, model)
    batch = next(iter(rows)) if not isinstance(rows, list) else {k: torch.tensor([r[k] for r in rows]) for k in rows[0]}
    inputs = {
        key: value[:examples].double() if value.is_floating_point() else value[:examples]
        for key, value in batch.items()
        if key != "labels"
    }
    names = query_and_value(model) if pattern is None else [n for n in all_layers(model) if re.fullmatch(pattern, n)]
    layers = [all_layers(model)[name] for name in names]
    found = orders(
        {layer.name: layer.module for layer in layers},
        lambda b: model(**b.inputs),
        Batch(inputs, None, torch.arange(examples)),
    )
    assert order in found.values()
    assert set(found.values()) <= {order, "first"}
    placements = [Placement(layer, Lora(r=2), order=found[layer.name]) for layer in layers]
    generator = torch.Generator().manual_seed(0)
    double = {"generator": generator, "dtype": torch.float64}
    values = {
        layer.name: {
            "A": torch.randn(examples, 2, layer.in_features, **double),
            "B": torch.randn(examples, layer.out_features, 2, **double),
        }
        for layer in layers
    }

    def bound(attachment, weight):
        attachment.bind({name: {k: weight(v) for k, v in own.items()} for name, own in values.items()})
        return model(**inputs).logits

    with Attachment(placements) as attachment:
        together = bound(attachment, lambda v: Grouped(v, rows=examples))
        apart = [bound(attachment, lambda v, i=i: Shared(v[i]))[i] for i in range(examples)]
        torch.testing.assert_close(together, torch.stack(apart), atol=1e-4, rtol=1e-4)
        assert (together[0] - bound(attachment, lambda v: Shared(v[1]))[0]).abs().max() > 1e-3

        signs = torch.randint(0, 2, (examples, 256), generator=generator) * 2.0 - 1

        def flipped(v):
            return Flipped(v[0], v[1], signs[:, : v.shape[1]], signs[:, -v.shape[2] :])

        together = bound(attachment, flipped)

        def of(v, i):
            f = flipped(v)
            return Shared(f.mean + f.deviation * torch.outer(f.sign_out[i], f.sign_in[i]))

        apart = [bound(attachment, lambda v, i=i: of(v, i))[i] for i in range(examples)]
        torch.testing.assert_close(together, torch.stack(apart), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["melora", "blob", "laplace_lora", "swag"])
def test_methods_on_flattened_rows(method, tmp_path):
    model = built("sequence", "OPTForSequenceClassification", "opt")
    rows = data_for("sequence", model)
    options = {"likelihood": "sequence_classification", "targets": "all-linear", "progress": False}
    posterior = bayespeft.fit(model, rows, method, train=TrainConfig(steps=2, batch_size=4), **options)
    one = posterior.predict(rows, draws=3, draws_per_pass=1).log_likelihood
    torch.testing.assert_close(
        posterior.predict(rows, draws=3, draws_per_pass=3).log_likelihood, one, atol=1e-5, rtol=1e-5
    )
    posterior.save(tmp_path / "saved")
    loaded = bayespeft.load(tmp_path / "saved", model)
    assert [p.order for p in loaded.placements] == [p.order for p in posterior.placements]
    assert {p.order for p in loaded.placements} == {"first", "grouped"}
    torch.testing.assert_close(
        loaded.predict(rows, draws=3, draws_per_pass=3).log_likelihood, one, atol=1e-5, rtol=1e-5
    )


def test_routed_rows_are_refused_with_the_reason():
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Rows(SHAPES["mixed"])
            self.out = nn.Linear(4, 2)

        def forward(self, x):
            return self.out(x).mean(1) + self.inner(x).sum()

    x = torch.randn(4, 6, 4, generator=torch.Generator().manual_seed(1))
    data = (x, torch.tensor([0, 1, 0, 1]))
    options = {"targets": ["layer"], "likelihood": "sequence_classification", "progress": False}
    with pytest.raises(
        AttachError, match=r"layer 'inner.layer' got an input of \d+ rows.*tokens are routed.*noise='batch'"
    ):
        bayespeft.fit(Routed(), data, "melora", train=TrainConfig(steps=1), **options)


def test_networks_that_write_several_tokens_at_once_are_refused():
    try:
        model = built("causal", "MusicgenForCausalLM", "musicgen")
    except ValueError as error:
        pytest.skip(f"this version of transformers builds it from parts alone: {error}")
    with pytest.raises(AttachError, match=r"output embedding of MusicgenForCausalLM is a ModuleList"):
        bayespeft.fit(model, data_for("causal", model), "mle", likelihood=TASKS["causal"][1], progress=False)
