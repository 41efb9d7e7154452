"""Networks quantised by libraries that are installed: fitted, predicted with, saved and loaded on a CPU."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import BertForSequenceClassification

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import AttachError
from bayespeft.layers.layer import all_layers
from tests.layers.quantised import replaced, rounded, wide_bert

# What those libraries warn of on import.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")

GROUP = 32  # weights of a row with one scale


def wide() -> BertForSequenceClassification:
    return wide_bert(2 * GROUP)


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
    settings = quantize.BaseQuantizeConfig(nbits=4, group_size=GROUP)
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


def gptq(model: nn.Module) -> None:
    library = package("gptqmodel.nn_modules.qlinear.torch")

    def quantised(layer: nn.Linear) -> nn.Module:
        made = library.TorchLinear(**_four_bits(layer))
        places = torch.arange(layer.in_features, dtype=torch.int32) // GROUP
        made.pack(layer, *rounded(layer, GROUP), places)
        made.post_init()
        return made

    replaced(model, quantised)


def awq(model: nn.Module) -> None:
    library = package("gptqmodel.nn_modules.qlinear.torch_awq")

    def quantised(layer: nn.Linear) -> nn.Module:
        made = library.AwqTorchLinear(**_four_bits(layer), register_buffers=True)
        made.pack(layer, *rounded(layer, GROUP))
        made.post_init()
        return made

    replaced(model, quantised)


def _four_bits(layer: nn.Linear) -> dict[str, Any]:
    sizes = {"in_features": layer.in_features, "out_features": layer.out_features, "bias": layer.bias is not None}
    return {"bits": 4, "group_size": GROUP, "sym": False, "desc_act": False, **sizes}


def auto_gptq(model: nn.Module) -> None:
    # The package's own __init__ asks for names that transformers no longer has; its layers do not.
    found = importlib.util.find_spec("auto_gptq")
    if found is None or found.origin is None:
        pytest.skip("auto_gptq is not installed")
    file = Path(found.origin).parent / "nn_modules" / "qlinear" / "qlinear_cuda_old.py"
    spec = importlib.util.spec_from_file_location("qlinear_cuda_old", file)
    assert spec is not None
    assert spec.loader is not None
    library: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)

    def quantised(layer: nn.Linear) -> nn.Module:
        sizes = layer.in_features, layer.out_features, layer.bias is not None
        made = library.QuantLinear(4, GROUP, *sizes, weight_dtype=torch.float32)
        made.pack(layer, *rounded(layer, GROUP), None)
        return made

    replaced(model, quantised)


def eight_bit_floats() -> Any:
    """Return transformers' module of such layers; earlier ones need a GPU to be imported, and have no backward pass."""
    library = package("transformers.integrations.finegrained_fp8")
    if not hasattr(library, "_dequantize_fp8_weight"):
        pytest.skip("transformers' layers of eight-bit floats have no backward pass in this version")
    return library


def fp8(model: nn.Module) -> None:
    """transformers' own layers, made as a checkpoint's are, with its kernel's arithmetic in the place of its GPU kernel."""
    library = eight_bit_floats()

    def quantised(layer: nn.Linear) -> nn.Module:
        made = library.FP8Linear(layer.in_features, layer.out_features, (GROUP, GROUP), has_bias=layer.bias is not None)
        weight = layer.weight.detach()
        tiles = weight.unflatten(0, (-1, GROUP)).unflatten(2, (-1, GROUP))
        scales = tiles.abs().amax((1, 3)) / 448
        whole = scales.repeat_interleave(GROUP, 0).repeat_interleave(GROUP, 1)
        state = {"weight": (weight / whole).to(torch.float8_e4m3fn), "weight_scale_inv": scales}
        made.load_state_dict(state if layer.bias is None else state | {"bias": layer.bias.detach()})
        return made.requires_grad_(False)

    replaced(model, quantised)


def rounding_linear(
    x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, block: Any = None, bias: Any = None, *_: Any
) -> torch.Tensor:
    """What the kernel computes: each token's input in eight-bit floats with a scale of its own, times the weight."""
    library = importlib.import_module("transformers.integrations.finegrained_fp8")
    most = x.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 448
    rounded_input = (x / most).to(torch.float8_e4m3fn).to(x) * most
    return nn.functional.linear(rounded_input, library._dequantize_fp8_weight(weight, scale, block, x.dtype), bias)


LIBRARIES = {
    "transformers, FP8": fp8,
    "torchao": torchao,
    "torchao float8": torchao_float8,
    "hqq": hqq,
    "quanto": quanto,
    "compressed-tensors": compressed_tensors,
    "bitsandbytes": four_bits,
    "gptqmodel, GPTQ": gptq,
    "gptqmodel, AWQ": awq,
    "auto-gptq": auto_gptq,
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_network_of_an_installed_library(library, sentences, tokenizer, tmp_path, monkeypatch):
    if library == "transformers, FP8":
        monkeypatch.setattr(eight_bit_floats(), "fp8_linear", rounding_linear)
    model, dense = wide(), all_layers(wide())
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


# Of the package's kernels "auto" may take one without a backward pass.
BITS = {"bits": 4, "group_size": GROUP}
BLOCKS = {"backend": "gptq_torch", "checkpoint_format": "gptq_v2", "block_name_to_quantize": "bert.encoder.layer"}
STORED: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "gptq": (gptq, "bert.encoder", BLOCKS),
    "awq": (awq, "bert", {"zero_point": True, "backend": "torch_awq", "modules_to_not_convert": ["classifier"]}),
}


@pytest.mark.parametrize("kind", STORED)
def test_a_checkpoint_that_transformers_loads_with_such_layers(kind, sentences, tokenizer, tmp_path):
    package("gptqmodel")
    if kind == "gptq":
        package("optimum.gptq")
    quantise, part, settings = STORED[kind]
    model = wide()
    model.save_pretrained(tmp_path / "base")
    quantise(model.get_submodule(part))
    rewritten(tmp_path / "base", model.state_dict(), {"quant_method": kind, **BITS, **settings})
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "base", dtype=torch.float16).eval()
    train = TrainConfig(steps=2, batch_size=4)
    for method in ("melora", "dora"):
        posterior = bayespeft.fit(loaded, sentences, method, tokenizer=tokenizer, train=train, progress=False)
        assert all(p.layer.packed for p in posterior.placements if not p.head)
        posterior.save(tmp_path / method)
        again = bayespeft.load(tmp_path / method, loaded, tokenizer=tokenizer)
        found, expected = (each.predict(sentences, draws=2).log_probs for each in (again, posterior))
        assert torch.equal(found, expected)


def rewritten(folder: Path, state: dict[str, torch.Tensor], settings: dict[str, Any]) -> None:
    """Put other tensors, and how they are quantised, in the place of those of a saved network."""
    whole = {name: value.contiguous() for name, value in state.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))


def test_a_base_in_bfloat16_keeps_its_scales(sentences, tokenizer):
    """AWQ's layers take their scales into the precision of an input for good, and DoRA reads their weight at each step."""
    model = wide()
    awq(model.bert)
    scales = model.to(torch.bfloat16).bert.encoder.layer[0].attention.self.query.scales
    train = TrainConfig(steps=2, batch_size=4)
    bayespeft.fit(model, sentences, "dora", tokenizer=tokenizer, train=train, progress=False)
    assert model.bert.encoder.layer[0].attention.self.query.scales is scales


def test_a_kernel_without_a_backward_pass_is_refused(sentences, tokenizer):
    """AutoAWQ's layers have none on a CPU: they compute without gradients."""
    library = package("awq.modules.linear.gemm")

    def quantised(layer: nn.Linear) -> nn.Module:
        scales, zeros = rounded(layer, GROUP)
        return library.WQLinear_GEMM.from_linear(layer, 4, GROUP, scales=scales.mT, zeros=zeros.mT)

    model = replaced(wide(), quantised, "bert.encoder")
    with pytest.raises(AttachError, match="no gradient"):
        bayespeft.fit(model, sentences, "melora", tokenizer=tokenizer, progress=False)


def test_a_checkpoint_that_transformers_dequantises_on_a_cpu_is_a_plain_base(tokenizer, sentences, tmp_path):
    """Where there is no kernel, transformers loads such a checkpoint into plain layers."""
    pytest.importorskip("accelerate", reason="transformers needs it for that")
    eight_bit_floats()
    model = wide()
    state = model.state_dict()
    for name, layer in all_layers(model.bert.encoder).items():
        scale = layer.weight().abs().amax() / 448
        place = f"bert.encoder.{name}.weight"
        state[place] = (state[place] / scale).to(torch.float8_e4m3fn)
        state[f"{place}_scale_inv"] = scale.reshape(1, 1)
    model.save_pretrained(tmp_path / "base")
    settings = {"weight_block_size": [GROUP, GROUP], "modules_to_not_convert": ["classifier"]}
    rewritten(tmp_path / "base", state, {"quant_method": "fp8", **settings})
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "base").eval()
    layers = all_layers(loaded.bert.encoder)
    assert not any(layer.packed for layer in layers.values())
    for name, layer in all_layers(model.bert.encoder).items():
        assert (layers[name].weight() - layer.weight()).norm() < 0.05 * layer.weight().norm()
    train = TrainConfig(steps=2, batch_size=4)
    posterior = bayespeft.fit(loaded, sentences, "melora", tokenizer=tokenizer, train=train, progress=False)
    posterior.save(tmp_path / "run")
    again = bayespeft.load(tmp_path / "run", loaded, tokenizer=tokenizer)
    assert torch.equal(posterior.predict(sentences, draws=2).log_probs, again.predict(sentences, draws=2).log_probs)
