"""What a fit will cost, from a configuration alone."""

from __future__ import annotations

from tests.cli.running import bp, ok


def test_doctor_plans_a_fit_from_a_configuration_alone(tmp_path):
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=100, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
        architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    output = ok("doctor", "--plan", tmp_path, "--length", 16, "--batch", 2, "--method", "blob").stdout
    assert "numbers at 4 layers" in output
    assert "kept for the backward pass" in output
    assert "none of float32, bfloat16, float16" in bp("doctor", "--plan", tmp_path, "--dtype", "int3").stderr
    for options in (["--plan", tmp_path / "none"], ["--plan", tmp_path, "--dtype", "int3"]):
        assert bp("doctor", *options).exit_code == 2
