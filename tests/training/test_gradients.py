"""A gradient that never arrives is found before training; one that is zero by right is not complained of."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import ViTConfig, ViTForImageClassification

import bayespeft
from bayespeft.adapters.attach import mode
from bayespeft.adapters.core import Core
from bayespeft.adapters.dora import Dora
from bayespeft.adapters.lora import Lora
from bayespeft.config import TrainConfig
from bayespeft.errors import AttachError
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.training.gradients import _check_arrived, check_gradients
from tests.layers.quantised import HalfInside, replaced, wide_bert
from tests.training.helpers import problem

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


def check(model, x=X, adapter=None, guide=None, **train):
    adapter, guide = adapter or Core(r=2), guide or MeanField()
    data = (x, torch.zeros(len(x), dtype=torch.long))
    with problem(model.eval(), data, adapter, guide, train=TrainConfig(**train)) as p:
        check_gradients(p, next(iter(p.examples.batches(2))))


class Blocks(nn.Module):
    """Two blocks and a head; `through` runs a block."""

    def __init__(self, through, residual=False):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(5, 5), nn.Tanh()) for _ in range(2))
        self.head = nn.Linear(5, 3)
        self.through, self.residual = through, residual

    def forward(self, x):
        for block in self.blocks:
            y = self.through(block, x)
            x = x + y if self.residual else y
        return self.head(x)


def plainly(block, x):
    return block(x)


def reentrant(block, x):
    return checkpoint(block, x, use_reentrant=True)


def detached(block, x):
    return block(x).detach()


def without_gradients(block, x):
    with torch.no_grad():
        return block(x)


class NoBackward(torch.autograd.Function):
    """A kernel that has a forward pass only, and says nothing."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return None


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("through", [reentrant, detached, without_gradients, lambda b, x: NoBackward.apply(b(x))])
@pytest.mark.parametrize("adapter", [Core(r=2), Lora(r=2)])
def test_layers_that_no_gradient_reaches_are_an_error(through, adapter):
    guide = Point() if isinstance(adapter, Lora) else MeanField()
    with pytest.raises(AttachError, match=r"no gradient arrives at layer 'blocks\.0\.0' \(2 layers.*use_reentrant"):
        check(Blocks(through), adapter=adapter, guide=guide)
    check(Blocks(plainly), adapter=adapter, guide=guide)


@pytest.mark.parametrize("seed", range(5))
def test_an_adapter_that_takes_a_part_as_constant_is_not_held_to_the_derivative(seed):
    torch.manual_seed(seed)
    adapter = Dora(r=8, alpha=16, constant_norm=True)
    check(nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 3)), adapter=adapter)
    with pytest.raises(AttachError, match="no gradient arrives"):
        check(Blocks(detached), adapter=adapter)


def test_activations_that_we_recompute_carry_gradients():
    check(Blocks(plainly), checkpoint_activations=True)


def test_a_path_that_is_cut_beside_one_that_is_not_is_told():
    """The residual stream brings a gradient to every layer, of which the blocks' own part is missing."""

    class Partly(Blocks):
        def forward(self, x):
            first, second = self.blocks
            x = x + first(x)
            return self.head(x + 3 * second(x.detach()))

    with pytest.raises(AttachError, match="is not the derivative of the network's output"):
        check(Partly(plainly))
    check(Blocks(plainly, residual=True))
    with pytest.raises(AttachError, match="is not the derivative of the network's output"):
        check(Partly(plainly), precision="bf16")
    check(Blocks(plainly, residual=True), precision="bf16")
    # With weights in half precision it could be rounding.
    with pytest.warns(UserWarning, match="is not the derivative of the network's output"):
        check(Partly(plainly).bfloat16(), X.bfloat16())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(Blocks(plainly, residual=True).bfloat16(), X.bfloat16())


class Rounding(torch.autograd.Function):
    """Fake quantisation: rounds forward, and passes the gradient straight through."""

    @staticmethod
    def forward(ctx, x):
        return (16 * x).round() / 16

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_a_network_that_rounds_with_a_gradient_straight_through_is_none_to_complain_of():
    check(Blocks(lambda block, x: Rounding.apply(block(x))))


class OneToken(nn.Module):
    """Attention over tokens: with one token the query can't matter."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.query, self.value, self.out = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.softmax(self.query(x) @ x.mT, -1) @ self.value(x)).sum(1)


def test_a_gradient_that_is_zero_by_right_is_none_to_complain_of():
    check(OneToken(), X[:, None])
    check(Blocks(plainly), torch.zeros(4, 5))
    dead = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        dead[0].bias.fill_(-100.0)
    check(dead)


def test_a_network_that_autocast_does_not_suit_is_told_to_run_without():
    class Whole(Blocks):
        def forward(self, x):
            out = torch.zeros(len(x), 3, dtype=self.head.weight.dtype)
            out[torch.arange(len(x))] = super().forward(x)  # in bf16 under autocast
            return out

    check(Whole(plainly))
    with pytest.raises(AttachError, match=r"Whole can't run under autocast to bf16.*precision='float32'"):
        check(Whole(plainly), precision="bf16")


def test_gradients_that_are_not_finite_are_an_error():
    class Root(Blocks):
        def forward(self, x):
            return super().forward(x) + (0 * self.head(x)).abs().sqrt()

    with pytest.raises(AttachError, match=r"gradient at layer 'head' is not finite"):
        check(Root(plainly))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reenters", [True, False])
def test_checkpoints_of_the_network_s_own_are_right_or_refused(reenters):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_labels=3, **sizes)).eval()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reenters})
    rows = [{"pixel_values": torch.randn(3, 8, 8), "labels": i % 3} for i in range(8)]
    data = torch.utils.data.DataLoader(rows, batch_size=4)

    def fit(dropout):
        train = TrainConfig(steps=2, dropout=dropout)
        return bayespeft.fit(model, data, "mle", targets=r".*\.(value|v_proj)", train=train, progress=False)

    if reenters:
        with pytest.raises(AttachError, match="no gradient arrives"):
            fit(dropout=True)
    else:
        norms = [layer.norms["B"] for layer in fit(dropout=True).summary().layers if "B" in layer.norms]
        assert len(norms) == 2
        assert min(norms) > 0
    # Checkpoints of the network's own are off in evaluation mode, which training runs in unless dropout is asked for.
    assert fit(dropout=False).history.steps == 2


@pytest.mark.parametrize("method", ["melora", "blob"])
def test_reentrant_blocks_that_share_factors_are_told_what_to_do(bert, sentences, tokenizer, method):
    """Rows of one stack have one graph, which the first block's own backward pass frees."""
    bert.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    train = TrainConfig(steps=2, dropout=True)
    with pytest.raises(AttachError, match=r"re-entrant checkpoint.*use_reentrant=False"):
        bayespeft.fit(bert, sentences, method, tokenizer=tokenizer, train=train, progress=False)


class Choosing(Blocks):
    """As experts by tokens: which half a block's output goes through is chosen by its largest part, in fine steps."""

    def forward(self, x):
        for block in self.blocks:
            y = block(x)
            x = torch.where((2000 * y.sum(-1, keepdim=True)).floor() % 2 == 0, y, -3 * y)
        return self.head(x)


def test_a_network_that_jumps_is_none_to_complain_of_and_a_cut_in_it_is():
    check(Choosing(plainly))

    class Cut(Choosing):
        def forward(self, x):
            return super().forward(x + 2 * self.blocks[0](x).detach())

    with pytest.raises(AttachError, match="is not the derivative of the network's output"):
        check(Cut(plainly))


def test_a_network_that_is_nearly_all_jumps_is_judged_in_double_precision():
    """Attention of large scores is a maximum: its derivative is that over ways that single precision rounds away."""

    class Sharp(nn.Module):
        def __init__(self, through=lambda x: x):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.through = nn.Linear(5, 40), nn.Linear(40, 3), through

        def forward(self, x):
            y = 1e6 * self.first(x)
            return self.second(torch.sin(y) + self.through(torch.sin(2 * y)))

    check(Sharp())
    with pytest.raises(AttachError, match="is not the derivative of the network's output"):
        check(Sharp(torch.Tensor.detach))


@pytest.mark.parametrize(
    ("moves", "is_cut"), [(lambda t: t, True), (lambda t: t**2, False), (lambda t: t > 0.005, False)]
)
def test_what_moves_the_output_by_a_jump_or_in_the_second_order_needs_no_gradient(moves, is_cut):
    stack = SimpleNamespace(name="B", rows={"layer": 0})
    problem = SimpleNamespace(device=torch.device("cpu"), stacks=[stack])
    path = SimpleNamespace(
        problem=problem, exact=True, values={"B": torch.zeros(1, 2)}, output=lambda _: torch.ones(3, dtype=torch.double)
    )
    path.moved = lambda _, step: torch.ones(3, dtype=torch.double) + float(moves(step))
    with pytest.raises(AttachError, match="no gradient arrives at layer 'layer'") if is_cut else nullcontext():
        _check_arrived(path, [("B", 0)])


class Packing(nn.Linear):
    """As a 4-bit layer of bitsandbytes on a CPU with AVX512-BF16: its first pass in evaluation mode repacks its weight."""

    support_avx512bf16_for_cpu = True
    packed = False

    def forward(self, x):
        if not self.training and not x.requires_grad:
            self.packed = True
        y = super().forward(x)
        return y.detach() if self.packed else y


def test_a_layer_that_would_repack_its_weight_stays_as_it_is():
    torch.manual_seed(1)
    model = nn.Sequential(Packing(5, 5), nn.Tanh(), Packing(5, 3)).eval()
    check(model)
    with mode(model), torch.no_grad():
        model(X)
    assert not model[0].packed
    assert not model[0].training
    with torch.no_grad():
        model(X)
    assert model[0].packed
    with pytest.raises(AttachError, match=r"is not the derivative.*quantised weights"):
        check(model)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("bits", [4, 8])
def test_every_layer_of_a_quantised_base_learns_and_the_base_stays_bit_equal(bits):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    layers = [
        bitsandbytes.nn.Linear4bit(64, 64, compute_dtype=torch.float32)
        if bits == 4
        else bitsandbytes.nn.Linear8bitLt(64, 64, has_fp16_weights=False)
        for _ in range(3)
    ]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())), nn.Linear(64, 3)).to("cpu").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(16, 64)
    train = TrainConfig(steps=2, batch_size=8)
    data = (x, (x[:, 0] > 0).long())
    posterior = bayespeft.fit(model, data, "mle", targets=["0", "2", "4"], train=train, progress=False)
    assert min(layer.norms["B"] for layer in posterior.summary().layers) > 0
    posterior.predict(x)
    after = model.state_dict()
    assert all(
        torch.equal(value, after[name]) for name, value in before.items() if isinstance(after[name], torch.Tensor)
    )


@pytest.mark.parametrize("activation", [nn.Tanh, nn.LeakyReLU, nn.GELU])
def test_a_cut_is_found_in_every_network_and_none_where_there_is_none(activation):
    """Along few directions most of a cut may show nothing: the derivative is off by a normal deviate in each."""
    for seed in range(3):
        torch.manual_seed(seed)
        model = nn.Sequential(Packing(5, 4), activation(), Packing(4, 4), activation(), Packing(4, 3)).eval()
        check(model)
        with torch.no_grad():
            model(X)
        with pytest.raises(AttachError, match="is not the derivative"):
            check(model)


class HalfAndCut(HalfInside):
    """It hides that its output depends on its input."""

    def forward(self, x):
        return super().forward(x.detach())


@pytest.mark.parametrize("method", ["mle", "melora"])
def test_layers_that_compute_in_half_precision_inside_are_none_to_complain_of_and_a_cut_in_them_is(
    method, sentences, tokenizer
):
    """Rounding leaves nothing of short ways, and such a network bends over long ones: those between tell."""
    fit = partial(bayespeft.fit, tokenizer=tokenizer, train=TrainConfig(steps=1), progress=False)
    fit(replaced(wide_bert(64), HalfInside, "bert.encoder"), sentences, method)
    cut = replaced(wide_bert(64), HalfAndCut, "bert.encoder.layer.1.output")
    with pytest.raises(AttachError, match="is not the derivative"):
        fit(replaced(cut, HalfInside, "bert.encoder"), sentences, method)


class Huge(nn.Linear):
    """Outputs at the end of what single precision holds."""

    def forward(self, x):
        return super().forward(x) * 1e38


def test_outputs_that_overflow_when_they_move_are_told_as_such():
    torch.manual_seed(0)
    with pytest.raises(AttachError, match=r"the network's output overflows .*: check the inputs"):
        check(nn.Sequential(nn.Linear(5, 5), nn.Tanh(), Huge(5, 3)))
