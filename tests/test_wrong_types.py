"""Every public function meets wrong types for every argument: its own result or our error, never a foreign exception."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

import bayespeft
from bayespeft import TrainConfig
from bayespeft.compare import Comparison, compare
from bayespeft.errors import BayesPeftError
from tests.compare.conftest import made_up

WRONG = [
    None, "", "x", "\ud800", "x" * 5000, Path("a\0b"), 3, 0, -1, 3.5, float("nan"), float("inf"), True, 10**30, b"x",
    [], [1], ["x", None], {}, {"a": 1}, (), (1, 2, 3), object(), int, lambda: 0,
    np.int64(3), np.float32(0.5), np.bool_(True), np.zeros(3), np.zeros(()), torch.zeros(3), torch.zeros(3).to_sparse(),
    torch.tensor(3), torch.zeros(2, device="meta"), nn.Identity(), 1j, range(3), iter([1]),
]  # fmt: skip
ONE_STEP = TrainConfig(steps=1, batch_size=8)


def tiny_language_model() -> Any:
    config = LlamaConfig(
        vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, pad_token_id=0,
        max_position_embeddings=32, initializer_range=0.5, bos_token_id=1, eos_token_id=3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


class World:
    """One of each: networks, data, posteriors and results, and the arguments with which each public function runs."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.folder = folder
        self.network = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
        self.x = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
        self.other = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
        self.data = self.x, (self.x[:, 0] > 0).long()
        self.posterior = bayespeft.fit(self.network, self.data, "melora", **self.fit)
        self.point = bayespeft.fit(self.network, self.data, "mle", **self.fit)
        self.language = tiny_language_model()
        rows = [{"input_ids": [2, 5, 6, 7 + i % 4], "labels": [-100, -100, 6, 7 + i % 4]} for i in range(8)]
        self.speaker = bayespeft.fit(
            self.language, rows, likelihood="language_modelling", train=ONE_STEP, progress=False
        )  # fmt: skip
        self.sparse = bayespeft.fit(self.network, self.data, "bayes_rosa", **self.fit)
        self.flags = bayespeft.fit(
            self.network, (self.x, (self.x[:, :2] > 0).float()), likelihood="multi_label", **self.fit
        )  # fmt: skip
        self.dialogue = rows
        self.quantities = bayespeft.fit(
            self.network, (self.x, self.x[:, :2].clone()), likelihood="regression", **self.fit
        )  # fmt: skip
        self.adaptation = bayespeft.adapt(self.other, self.data, 16, targets=["0"], train=ONE_STEP)
        self.optimizer = self.adaptation.optimizer()
        with self.adaptation:
            self.adaptation.loss(self.data).backward()
            self.optimizer.step()
        self.posterior.save(folder / "posterior")
        self.point.export_peft(folder / "lora")
        (self.folder / "report.json").write_text(self.posterior.report(self.data, resamples=2).to_json())

    fit: ClassVar[dict[str, Any]] = {"targets": ["0", "2"], "train": ONE_STEP, "progress": False}

    def functions(self) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
        """Yield the name of each function, itself, and arguments with which it runs."""
        data = {"model": self.network, "data": self.data, **self.fit}
        given: dict[str, dict[str, Any]] = {
            "fit": data,
            "adapt": {
                "model": self.network,
                "example": self.data,
                "data_size": 16,
                "targets": ["0"],
                "train": ONE_STEP,
            },
            "from_pretrained": {"name": self.folder / "posterior", "model": self.network},
            "load": {"directory": self.folder / "posterior", "model": self.network},
            "import_lora": {"lora": self.folder / "lora", "model": self.network, "classes": 2},
            "decompose": {"matrix": self.x},
            "evaluate": {"probs": torch.full((4, 2), 0.5), "labels": [0, 1, 1, 0]},
            "methods": {},
            "intrinsic_dimension": {**data, "validation": self.data, "reference": 0.5, "smallest": 2, "fits": 1},
            "Targets": {},
            "TrainConfig": {},
            "Method": dict(bayespeft.methods()["melora"]),
        }
        for name in bayespeft.__all__:
            thing = getattr(bayespeft, name)
            if not callable(thing) or (inspect.isclass(thing) and name not in given):
                continue  # results are made by functions
            yield name, thing, given[name]
        yield "compare", compare, {"model": "no network", "data": "no data", "progress": False}
        special = {"export_peft": self.point, "pruned": self.sparse, "generate": self.speaker, "score": self.speaker}
        for name, posterior in special.items():
            yield from (entry for entry in self._methods(posterior) if entry[0] == name)
        objects = {
            "Posterior": self.posterior,
            "Predictive": self.posterior.predict(self.data),
            "RegressionPredictive": self.quantities.predict(self.x),
            "CalibrationReport": self.posterior.report(self.data, resamples=2),
            "RegressionReport": self.quantities.report((self.x, self.x[:, :2]), resamples=2),
            "MultiLabelPredictive": self.flags.predict(self.x),
            "MultiLabelReport": self.flags.report((self.x, self.x[:, :2] > 0), resamples=2),
            "ConformalLabels": self.flags.conformal((self.x, self.x[:, :2] > 0)),
            "LanguagePredictive": self.speaker.predict(self.dialogue, draws=1),
            "LanguageReport": self.speaker.report(self.dialogue, draws=1, resamples=2),
            "Evaluation": bayespeft.evaluate(np.full((4, 2), 0.5), [0, 1, 1, 0]),
            "Comparison": Comparison((made_up("a"),)),
            "Conformal": self.posterior.conformal(self.data),
            "Decision": self.posterior.decide(self.data, validation=self.data),
            "Summary": self.posterior.summary(),
            "WeightCovariance": self.posterior.weight_covariance("0"),
            "Generation": self.speaker.generate([[5, 6]], draws=1, max_new_tokens=2),
            "Score": self.speaker.score([[5, 6]], [[7]], draws=1),
            "Method": bayespeft.methods()["melora"],
            "Adaptation": self.adaptation,
        }
        for name, thing in objects.items():
            yield from ((f"{name}.{method}", call, good) for method, call, good in self._methods(thing))

    def _methods(self, thing: Any) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
        good = {
            "data": self.data, "validation": self.data, "directory": self.folder / "out", "layer": "0", "keep": 0.5,
            "path": self.folder / "file.svg", "figure": "reliability", "source": self.folder / "report.json",
            "defaults": thing, "values": {}, "vectors": torch.zeros(18, 2), "vector": torch.zeros(18), "k": 1,
            "prompts": [[5, 6]], "targets": [[7, 8]] if isinstance(thing, bayespeft.Posterior) else np.zeros(4),
            "means": np.zeros((1, 4)), "stds": np.ones((1, 4)), "key": "melora",
            "prediction": self.posterior.predict(self.data), "predict": self.posterior.predict,
            "batch": self.data, "optimizer": self.optimizer, "steps": 3, "state": self.adaptation.state_dict(),
            "repo_id": "no name of a repository", "alpha": 0.1, "risk": 0.2, "delta": 0.1, "temperature": 1.0,
            "predictor": self.posterior, "on": np.log(np.full((4, 2), 0.5)), "off": np.log(np.full((4, 2), 0.5)),
            "log_likelihood": np.full(4, -1.0), "tokens": np.ones(4, dtype=int),
            "out": self.folder / "compared", "test": self.posterior.report(self.data, resamples=2),
            "log_probs": np.log(np.full((4, 2), 0.5)), "labels": np.zeros(4, dtype=int),
        }  # fmt: skip
        for name in dir(type(thing)):
            member = inspect.getattr_static(type(thing), name)
            if name.startswith(("_", "model_")) or isinstance(member, property) or not callable(getattr(thing, name)):
                continue
            if name in PYDANTIC:
                continue
            call = getattr(thing, name)
            named = inspect.signature(call).parameters.values()
            needed = [p.name for p in named if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
            cheap = {"draws": 1, "resamples": 2, "max_new_tokens": 1}
            known = {p.name: cheap[p.name] for p in named if p.name in cheap}
            yield name, call, {name: good[name] for name in needed if name in good} | known


PYDANTIC = {name for name in dir(bayespeft.TrainConfig.__mro__[2]) if not name.startswith("_")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: Any) -> World:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return World(tmp_path_factory.mktemp("world"))


def foreign(world: World, name: str, call: Callable[..., Any], good: dict[str, Any]) -> list[str]:
    """Return what went wrong in other words than ours."""
    found = []
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for value in WRONG:
            try:
                result = call(**{**good, parameter.name: value})
                if hasattr(result, "__enter__"):
                    with result:
                        pass
            except BayesPeftError:
                pass
            except BaseException as error:  # whatever it is, it is not ours
                found.append(
                    f"{name}({parameter.name}={type(value).__name__} {value!r:.20}): {type(error).__name__}: {error}"
                )
    return found


def test_no_argument_of_a_public_function_raises_a_foreign_exception(
    world: World, monkeypatch: Any, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [line for entry in world.functions() for line in foreign(world, *entry)]
    assert not found, "\n".join(found)
