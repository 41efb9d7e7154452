"""Networks quantised by libraries that are installed: fitted, predicted with, saved and loaded on a CPU."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import AttachError
from bayespeft.layers.layer import all_layers
from bayespeft.testing.networks import bert
from tests.layers.quantised import replaced

# What those libraries warn of on import.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")


def package(name: str) -> Any:
    pytest.importorskip(name)
    return importlib.import_module(name)


def torchao(model: nn.Module) -> None:
    quantization = package("torchao.quantization")
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())


def torchao_float8(model: nn.Module) -> None:
    quantization = package("torchao.quantization")
    quantization.quantize_(model, quantization.Float8WeightOnlyConfig())


def hqq(model: nn.Module) -> None:
    quantize = package("hqq.core.quantize")
    settings = quantize.BaseQuantizeConfig(nbits=4, group_size=16)
    replaced(model, lambda layer: quantize.HQQLinear(layer, settings, compute_dtype=torch.float32, device="cpu"))


def quanto(model: nn.Module) -> None:
    library = package("optimum.quanto")
    library.quantize(model, weights=library.qint8)
    library.freeze(model)


def compressed_tensors(model: nn.Module) -> None:
    library, compressors = package("compressed_tensors.quantization"), package("compressed_tensors.compressors")
    weights = library.QuantizationArgs(num_bits=8, type="int", strategy="channel", symmetric=True)
    groups = {"all": library.QuantizationScheme(targets=["Linear"], weights=weights)}
    library.apply_quantization_config(model, library.QuantizationConfig(config_groups=groups))
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            scale = module.weight.detach().abs().amax(1, keepdim=True) / 127
            module.weight_scale.data = scale.to(module.weight_scale.dtype)
    compressor = compressors.ModelCompressor.from_pretrained_model(model, quantization_format="pack-quantized")
    compressor.compress_model(model)


def four_bits(model: nn.Module) -> None:
    library = package("bitsandbytes")

    def quantised(layer: nn.Linear) -> nn.Module:
        made = library.nn.Linear4bit(layer.in_features, layer.out_features, compute_dtype=torch.float32)
        made.load_state_dict(layer.state_dict())
        return made.to("cpu")

    replaced(model, quantised)


LIBRARIES = {
    "torchao": torchao,
    "torchao float8": torchao_float8,
    "hqq": hqq,
    "quanto": quanto,
    "compressed-tensors": compressed_tensors,
    "bitsandbytes": four_bits,
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_network_of_an_installed_library(library, sentences, tokenizer, tmp_path):
    model, dense = bert(), all_layers(bert())
    LIBRARIES[library](model.bert)
    settings = {"tokenizer": tokenizer, "train": TrainConfig(steps=2, batch_size=4), "progress": False}
    if library == "compressed-tensors":
        with pytest.raises(AttachError, match="has compressed weights, which the first pass turns into others"):
            bayespeft.fit(model, sentences, "mle", **settings)
        model.bert(torch.ones(1, 2, dtype=torch.long))
    for name, layer in all_layers(model.bert).items():
        weight = dense[f"bert.{name}"].weight()
        assert (layer.weight() - weight).norm() < 0.2 * weight.norm()
    for method in ("mle", "melora", "blob", "laplace_lora", "dora", "lora_xs_bayes", "rosa_sparse"):
        posterior = bayespeft.fit(model, sentences, method, **settings)
        found = posterior.predict(sentences, draws=2).log_probs
        posterior.save(tmp_path / method)
        again = bayespeft.load(tmp_path / method, model, tokenizer=tokenizer)
        assert torch.equal(found, again.predict(sentences, draws=2).log_probs)
