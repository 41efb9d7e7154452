"""Jacobians of output layers come in factors, and those make the dense ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.core import Core
from bayespeft.adapters.full import Full
from bayespeft.adapters.lora import Lora
from bayespeft.data.source import source_of
from bayespeft.fitting.assemble import assemble
from bayespeft.gaussians.outer import FeatureJacobian, OuterCurvature, OuterJacobian, StackJacobian
from bayespeft.guides.laplace_diagonal import LaplaceDiagonal
from bayespeft.guides.laplace_kronecker import LaplaceKronecker
from bayespeft.guides.variational_last_layer import VariationalLastLayer
from bayespeft.methods.laplace_lora import METHOD
from bayespeft.methods.vbll import METHOD as VBLL
from bayespeft.prediction import jacobian as module
from bayespeft.prediction.jacobian import jacobians
from tests.guides.test_variational_last_layer import spread_out
from tests.training.helpers import problem

# Guides whose stacks are separate, over a head.
SEPARATE = {
    "kronecker": METHOD,
    "diagonal": METHOD.replace(guide=LaplaceDiagonal()),
    "rows": VBLL,
    "row elements": VBLL.replace(guide=VariationalLastLayer(covariance="diagonal")),
}
STEPS = TrainConfig(steps=12, batch_size=8, lr=1e-2)


@pytest.fixture
def rows(sentences):
    return [{**row, "label": (row["label"] + i % 2) % 3} for i, row in enumerate(sentences)]


def with_head(bert, classes):
    bert.config.num_labels = bert.num_labels = classes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bert.classifier = nn.Linear(bert.classifier.in_features, classes)
    return bert


@pytest.fixture
def fresh(bert):
    """A network of three classes whose head nobody has trained."""
    return with_head(bert, 3)


def factored(found: dict[str, StackJacobian]) -> set[str]:
    return {name for name, value in found.items() if isinstance(value, OuterJacobian)}


@pytest.mark.parametrize("method", SEPARATE.values(), ids=SEPARATE.keys())
def test_an_output_layer_comes_in_factors_that_make_the_dense_jacobian(fresh, tokenizer, rows, method):
    with assemble(fresh, source_of(rows), method, tokenizer=tokenizer) as assembly:
        p = assembly.problem
        spread_out(p.joint_guide)
        dense, short = list(p.jacobians()), list(p.jacobians(separate=True))
        assert len(dense) == len(short) > 0
        for expected, found in zip(dense, short, strict=True):
            torch.testing.assert_close(found.logits, expected.logits, atol=1e-6, rtol=1e-6)
            heads = {stack.name for stack in p.joint_guide.latent.stacks if stack.role == "head"}
            assert factored(found.by_stack) == heads
            assert len(heads) == 2, "weight and bias"
            for name, value in expected.by_stack.items():
                own = found.by_stack[name]
                own = own.dense() if name in heads else own
                torch.testing.assert_close(own, value, atol=1e-6, rtol=1e-6)
            roots, curvature = expected.roots(), found.roots()
            for name in heads:
                assert isinstance(curvature[name], OuterCurvature)
                diagonal = roots[name].square().sum((0, 1, 2))
                torch.testing.assert_close(
                    curvature[name].diagonal().reshape(diagonal.shape), diagonal, atol=1e-6, rtol=1e-5
                )


@pytest.mark.parametrize("separate", [False, True], ids=["dense", "in factors"])
@pytest.mark.parametrize("method", SEPARATE.values(), ids=SEPARATE.keys())
def test_of_differences_it_is_that_of_each_output_less_that_of_the_last(fresh, tokenizer, rows, method, separate):
    with assemble(fresh, source_of(rows), method, tokenizer=tokenizer) as assembly:
        p = assembly.problem
        spread_out(p.joint_guide)
        outputs = list(p.jacobians())
        found = list(jacobians(p, p.examples, method.train.batch_size, separate, differences=True))
        assert len(outputs) == len(found) > 0
        for one, other in zip(outputs, found, strict=True):
            torch.testing.assert_close(other.logits, one.logits, atol=1e-5, rtol=1e-5)
            for name, value in one.by_stack.items():
                own = other.by_stack[name]
                own = own.dense() if isinstance(own, OuterJacobian) else own
                # A difference of two that are nearly equal is as exact as each of them.
                torch.testing.assert_close(own, value - value[:, -1:], atol=1e-5 * float(value.abs().max()), rtol=1e-5)


@pytest.fixture
def many(bert):
    """A network of more classes than features, whose head nobody has trained."""
    return with_head(bert, 20)


@pytest.mark.parametrize("name", ["kronecker", "diagonal"])
def test_with_more_classes_than_features_the_features_are_differentiated(many, tokenizer, rows, name):
    with assemble(many, source_of(rows), SEPARATE[name], tokenizer=tokenizer) as assembly:
        p = assembly.problem
        spread_out(p.joint_guide)
        dense, short = list(p.jacobians()), list(p.jacobians(separate=True))
        assert len(dense) == len(short) > 0
        for expected, found in zip(dense, short, strict=True):
            kinds = {name: type(value) for name, value in found.by_stack.items()}
            heads = {stack.name for stack in p.joint_guide.latent.stacks if stack.role == "head"}
            assert kinds == {name: OuterJacobian if name in heads else FeatureJacobian for name in expected.by_stack}
            roots, shorter = expected.roots(), found.roots()
            for stack, value in expected.by_stack.items():
                scale = float(value.abs().max())
                torch.testing.assert_close(found.by_stack[stack].dense(), value, atol=1e-5 * scale, rtol=1e-5)
                if stack not in heads:
                    assert shorter[stack].shape[1] == 16 < roots[stack].shape[1] == 20
                    own, wanted = (
                        torch.einsum("nc...,nc...->...", each, each) for each in (shorter[stack], roots[stack])
                    )
                    torch.testing.assert_close(own, wanted, atol=1e-6 * float(wanted.max()), rtol=1e-4)
        guide = p.joint_guide.latent
        covariance = guide.output_covariance(dense[0].by_position())
        scale = float(covariance.abs().max())
        torch.testing.assert_close(
            guide.output_covariance(short[0].by_position()), covariance, atol=1e-6 * scale, rtol=1e-5
        )


class Trained(nn.Module):
    """A network of more classes than features; its last layer is adapted."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.body, self.last = kind, nn.Linear(5, 4), nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.body(x))
        if self.kind == "tokens":
            return self.last(torch.stack([hidden, hidden.square()], 1)).mean(1)
        if self.kind == "twice":
            return self.last(hidden) + self.last(hidden.square())
        return torch.tanh(self.last(hidden)) if self.kind == "behind" else self.last(hidden)


@pytest.mark.parametrize("kind", ["plain", "behind", "twice", "tokens"])
@pytest.mark.parametrize("adapter", [Lora(r=2, latent=("A", "B")), Core(r=2)], ids=["lora", "core"])
@pytest.mark.parametrize("targets", [["body", "last"], ["last"]], ids=["all", "last"])
def test_an_adapted_output_layer_is_as_good_as_a_fresh_one(kind, adapter, targets, xy):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Trained(kind)
    method = METHOD.replace(adapter=adapter)
    with assemble(network, source_of((xy[0], torch.arange(len(xy[0])) % 12)), method, targets=targets) as made:
        p = made.problem
        spread_out(p.joint_guide)
        assert made.problem.classes == 12
        expected, found = next(p.jacobians()), next(p.jacobians(separate=True))
        assert "B_12x2" in found.by_stack
        by_features = {name for name, value in found.by_stack.items() if isinstance(value, FeatureJacobian)}
        assert by_features == (found.by_stack.keys() - {"B_12x2"} if kind == "plain" else set())
        assert ("B_12x2" in factored(found.by_stack)) == (kind in ("plain", "behind"))
        assert found.passes == (4 + 2 if kind == "plain" else 12)
        roots, shorter = expected.roots(), found.roots()
        for name, value in expected.by_stack.items():
            own = found.by_stack[name]
            own = own if isinstance(own, Tensor) else own.dense()
            scale = max(float(value.abs().max()), 1.0)
            torch.testing.assert_close(own, value, atol=1e-5 * scale, rtol=1e-5)
            wanted = torch.einsum("nc...,nc...->...", roots[name], roots[name])
            curvature = shorter[name]
            diagonal = (
                torch.einsum("nc...,nc...->...", curvature, curvature)
                if isinstance(curvature, Tensor)
                else curvature.diagonal().reshape(wanted.shape)
            )
            torch.testing.assert_close(diagonal, wanted, atol=1e-5 * float(wanted.max()), rtol=1e-4)
        guide = p.joint_guide.latent
        covariance = guide.output_covariance(expected.by_position())
        torch.testing.assert_close(
            guide.output_covariance(found.by_position()), covariance, atol=1e-5 * float(covariance.max()), rtol=1e-4
        )


@pytest.mark.parametrize("kind", ["plain", "beside", "behind"])
def test_what_reaches_the_outputs_by_another_way_is_not_lost(kind, xy, monkeypatch):
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.aside, self.classifier = nn.Linear(5, 2), nn.Linear(5, 3, bias=False), nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits = self.classifier(torch.tanh(self.body(x)))
            if kind == "beside":
                return logits + self.aside(x)
            return logits if kind == "plain" else torch.tanh(logits)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Wide()
    monkeypatch.setattr(
        module, "_heads", lambda adapted: frozenset({"W_3x2", "b_3"}) & set(adapted.joint_guide.latent.mean())
    )
    with problem(network, xy, Full(), LaplaceKronecker()) as p:
        spread_out(p.joint_guide)
        expected, found = next(p.jacobians()), next(p.jacobians(separate=True))
        features = [name for name, value in found.by_stack.items() if isinstance(value, FeatureJacobian)]
        assert bool(features) == (kind == "plain")
        for name, value in expected.by_stack.items():
            own = found.by_stack[name]
            own = own if isinstance(own, Tensor) else own.dense()
            torch.testing.assert_close(own, value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", SEPARATE.values(), ids=SEPARATE.keys())
@pytest.mark.parametrize("classes", [3, 20])
def test_fits_and_predictions_are_those_of_dense_jacobians(classes, bert, tokenizer, rows, method, monkeypatch):
    bert.config.num_labels = bert.num_labels = classes
    bert.classifier = nn.Linear(16, classes)

    def fitted():
        torch.manual_seed(0)
        posterior = bayespeft.fit(bert, rows, method, tokenizer=tokenizer, train=STEPS, progress=False)
        return posterior.joint_guide.latent.state_dict(), posterior.predict(rows).log_probs

    state, log_probs = fitted()
    monkeypatch.setattr(module, "_met_once", lambda *_: (frozenset(), classes))
    expected_state, expected = fitted()
    for name, value in expected_state.items():
        if name.startswith(("curvature", "precision", "log_evidence", "raw", "loc")):
            torch.testing.assert_close(state[name], value, atol=1e-6 * max(1.0, float(value.abs().max())), rtol=2e-5)
    torch.testing.assert_close(log_probs, expected, atol=1e-6, rtol=1e-6)


class Odd(nn.Module):
    """A network whose head is no plain linear layer on one vector of each example."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.body, self.classifier = kind, nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.body(x))
        if self.kind == "twice":
            return self.classifier(hidden) + self.classifier(hidden.square())
        if self.kind == "tokens":
            return self.classifier(torch.stack([hidden, hidden.square()], 1)).mean(1)
        if self.kind == "longer batches":  # the first example, alone, does not show it
            if len(x) > 1:
                return self.classifier(torch.stack([hidden, hidden.square()], 1)).mean(1)
            return self.classifier(hidden)
        # "behind": it meets one vector, but its outputs are not the network's.
        return torch.tanh(self.classifier(hidden)).flip(-1)


@pytest.mark.parametrize("kind", ["twice", "tokens", "longer batches", "behind"])
def test_heads_that_are_no_plain_output_layer_are_right_as_well(kind, xy, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Odd(kind)

    def single(adapted):
        return frozenset(stack.name for stack in adapted.joint_guide.latent.stacks)

    monkeypatch.setattr(module, "_heads", single)
    with problem(network, xy, Full(), LaplaceKronecker()) as p:
        spread_out(p.joint_guide)
        expected = next(p.jacobians())
        found = next(p.jacobians(separate=True))
        assert ("W_3x6" in factored(found.by_stack)) == (kind == "behind")
        for name, value in expected.by_stack.items():
            own = found.by_stack[name]
            if isinstance(own, OuterJacobian):
                assert own.left is not None, "its outputs are not the network's"
                own = own.dense()
            torch.testing.assert_close(own, value, atol=1e-6, rtol=1e-5)


def test_tokens_and_label_tokens_have_dense_jacobians(llama, tokenizer, questions):
    method = registry.get("methods", "laplace_lora")
    with assemble(llama, source_of(questions), method, tokenizer=tokenizer) as assembly:
        assert not any(factored(local.by_stack) for local in assembly.problem.jacobians(separate=True))


def test_little_memory_counts_what_an_output_layer_takes(fresh, tokenizer, rows, monkeypatch):
    wanted = []
    monkeypatch.setattr(module, "fitting", lambda rows, each, free: wanted.append(each) or rows)
    with assemble(fresh, source_of(rows), METHOD, tokenizer=tokenizer) as assembly:
        p = assembly.problem
        for separate in (False, True):
            next(jacobians(p, p.examples, 8, separate))
    numbers = fresh.classifier.weight.numel() - len(fresh.classifier.weight)
    assert wanted[0] - wanted[2] == 4 * numbers * (2 + 6 * 3)
