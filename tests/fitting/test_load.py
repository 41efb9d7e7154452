"""Loading onto the base: bit-equal, and refused onto another network."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.core import Core
from bayespeft.errors import AttachError, CheckpointError, ConfigError
from bayespeft.utils.files import digest

QUICK = TrainConfig(steps=3, batch_size=8)


def quick(model: nn.Module, data: Any, guide: Any = "melora", **options: Any) -> bayespeft.Posterior:
    return bayespeft.fit(model, data, guide, **{"train": QUICK, "progress": False, **options})


def test_saved_and_loaded_predictions_are_bit_equal(bert, tokenizer, sentences, tmp_path):
    posterior = quick(bert, sentences, tokenizer=tokenizer, adapter=Core(r=3, alpha=6))
    posterior.save(tmp_path / "out")
    fresh = copy.deepcopy(bert)
    nn.init.normal_(fresh.classifier.weight)  # a head made anew has other values
    loaded = bayespeft.load(tmp_path / "out", fresh, tokenizer=tokenizer)
    assert torch.equal(loaded.predict(sentences, draws=3).log_probs, posterior.predict(sentences, draws=3).log_probs)
    assert loaded.method == posterior.method
    assert loaded.history == posterior.history
    posterior.save(tmp_path / "out")  # again, in place
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["posterior.json", "posterior.safetensors"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_checkpoint_of_another_network_is_an_error(bert, llama, tokenizer, sentences, tmp_path):
    quick(bert, sentences, tokenizer=tokenizer).save(tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"adapts layer 'bert.encoder.*LlamaForCausalLM lacks"):
        bayespeft.load(tmp_path / "out", llama)
    with torch.no_grad():
        bert.bert.encoder.layer[1].output.dense.weight[0, 0] += 1
    with pytest.raises(CheckpointError, match=r"'bert.encoder.layer.1.output.dense.weight' has other values"):
        bayespeft.load(tmp_path / "out", bert)


def test_without_a_network_the_error_names_the_one_to_pass(mlp, xy, tmp_path):
    quick(mlp, xy, targets="all-linear").save(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"its base network, here 'Sequential'.*load\('.*out', model\)"):
        bayespeft.load(tmp_path / "out")


def edit(folder, likelihood=(), **changes):
    """Change settings of a saved posterior, under a digest that fits."""
    settings = json.loads((folder / "posterior.json").read_text())
    settings = {**settings, "likelihood": {**settings["likelihood"], **dict(likelihood)}, **changes}
    settings.pop("sha256")
    settings["sha256"] = digest(json.dumps(settings, sort_keys=True).encode())
    (folder / "posterior.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("regression", {"likelihood": {"center": [0.0]}}, r"center has 1 means: the network has 3 outputs"),
        ("regression", {"likelihood": {"center": []}}, "standardise=True with a spread, and without the center"),
        ("regression", {"likelihood": {"max_length": -1}}, "max_length: Input should be greater than or equal to 1"),
        ("multi_label", {"likelihood": {"classes": 4}}, "classes=4: the network has 3 outputs, one for each label"),
        ("multi_label", {"likelihood": {"label_names": ["a", "b", "a"]}}, "3 names, 2 of them different"),
        (
            "multi_label",
            {"likelihood": {"label_names": ["a", "b", "c", "d"]}},
            "has 4 names, 4 of them different, for .* 3",
        ),
        ("multi_label", {"temperature": 5e-324}, "temperature: Input should be greater than or equal to 0.000001"),
        ("multi_label", {"temperature": 1e300}, "temperature: Input should be less than or equal to 1"),
    ],
)
def test_settings_that_can_not_be_those_of_the_network_are_refused(mlp, xy, tmp_path, kind, changes, told):
    labels = xy[0][:, :3] if kind == "regression" else (xy[0][:, :3] > 0).float()
    quick(mlp, (xy[0], labels), targets=["0"], likelihood=kind).save(tmp_path / "out")
    bayespeft.load(tmp_path / "out", mlp)
    edit(tmp_path / "out", **changes)
    with pytest.raises(CheckpointError, match=told):
        bayespeft.load(tmp_path / "out", mlp)


def test_a_file_that_names_another_number_of_classes_says_so(mlp, xy, tmp_path):
    """No head is saved that would tell it on loading: the first outputs do."""
    quick(mlp, xy, targets=["0"]).save(tmp_path / "out")
    edit(tmp_path / "out", classes=7)
    loaded = bayespeft.load(tmp_path / "out", mlp)
    for prediction in ("sampled", "linearised"):
        with pytest.raises(
            AttachError, match=r"Sequential gives 3 outputs, and this posterior is over 7: .* was changed"
        ):
            loaded.predict(xy, prediction=prediction)


def test_a_tokenizer_that_reads_otherwise_is_warned_of(bert, tokenizer, sentences, tmp_path):
    quick(bert, sentences, tokenizer=tokenizer).save(tmp_path / "out")
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    words = core["model"]["vocab"]
    words["good"], words["bad"] = words["bad"], words["good"]
    other = type(tokenizer)(tokenizer_object=Tokenizer.from_str(json.dumps(core)), pad_token="[PAD]", unk_token="[UNK]")
    with pytest.warns(UserWarning, match="this tokenizer gives texts other numbers than the one of the posterior"):
        bayespeft.load(tmp_path / "out", bert, tokenizer=other)
    bayespeft.load(tmp_path / "out", bert, tokenizer=tokenizer)
    bayespeft.load(tmp_path / "out", bert)


class Mine(Core):
    """Not registered anywhere."""


def test_what_could_not_be_loaded_again_is_not_saved(mlp, xy, tmp_path):
    with pytest.warns(UserWarning, match="can be used, but not saved: Mine is not registered in adapters"):
        posterior = quick(mlp, xy, targets="all-linear", adapter=Mine(r=2))
    with pytest.raises(ConfigError, match="Mine is not registered in adapters"):
        posterior.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_posterior_of_a_fit_in_bf16_loads_onto_the_base_in_float32(bert, tmp_path):
    rows = [{"input_ids": [2, 5 + i % 2, 9, 3], "labels": i % 2} for i in range(12)]
    whole = copy.deepcopy(bert)
    posterior = bayespeft.fit(bert.bfloat16(), rows, train=TrainConfig(steps=4), progress=False)
    posterior.save(tmp_path / "saved")
    loaded = bayespeft.load(tmp_path / "saved", whole)
    near, here = posterior.predict(rows).probs, loaded.predict(rows).probs
    # Eight bits of mantissa, over the layers of the network.
    assert 0 < (near - here).abs().max() < 0.05
