"""A random Llama of the shape of 7B: seconds of a training step and peak memory, peft's LoRA against methods of the package.

    python -m paper_repro.efficiency.large --device cuda [--bits 4] [--batch 1] [--length 512]

Weights are random, since time and memory don't depend on them; bf16, or 4 bits (NF4) by bitsandbytes. All train rank 8 on
the query and value projections, and read label tokens at the last position. Steps alternate in one process. The memory is
the most that was allocated while a method's step ran, the network itself included.
"""

from __future__ import annotations

import argparse

import pyro
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from bayespeft.config import TrainConfig
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.likelihoods.label_tokens import LabelTokens
from paper_repro.efficiency.step import LABELS, OwnStep, PeftStep, random_batch
from paper_repro.efficiency.timing import medians, timed
from paper_repro.results import append

TARGETS = ["q_proj", "v_proj"]


def random_llama(layers: int, width: int, device: str, bits: int) -> nn.Module:
    """Return a Llama with random bf16 weights, the linear layers of its blocks in `bits` bits."""
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=width,
        intermediate_size=width * 43 // 16,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 128),
        num_key_value_heads=max(1, width // 128),
        torch_dtype=torch.bfloat16,
        pad_token_id=0,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    for p in model.parameters():
        p.requires_grad_(False)
    if bits == 4:
        for block in model.model.layers:
            _quantise(block, device)
    return model.to(device).eval()


def _quantise(block: nn.Module, device: str) -> None:
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    for parent in list(block.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear):
                quantised = Linear4bit(
                    layer.in_features, layer.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
                )
                quantised.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
                setattr(parent, name, quantised.to(device))


def peak(step, device: str) -> int | None:
    """Return the most bytes that were allocated on the GPU while a step ran; None on a CPU."""
    if device != "cuda":
        step()
        return None
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    timed(step, device)
    return torch.cuda.max_memory_allocated()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--methods", default="mle,melora,blob")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--bits", type=int, default=16, choices=[4, 16])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return random_llama(args.layers, args.width, args.device, args.bits)

    ids, labels, rows = random_batch(args.batch, args.length, args.device)
    # peft changes a network in place, and the package wants one without adapters: so there are two, and one's size is
    # subtracted from what both need.
    base = fresh()
    both = torch.cuda.memory_allocated() if args.device == "cuda" else 0
    lora = PeftStep(fresh(), ids, labels, TARGETS, causal=True, bf16=True, inplace=True)
    lora()
    other = torch.cuda.memory_allocated() - both if args.device == "cuda" else 0
    lora_bytes = peak(lora, args.device)
    for name in args.methods.split(","):
        method = choose_method(name, None, TrainConfig(batch_size=args.batch, precision="bf16"))
        with (
            assemble(
                base,
                rows,
                method,
                likelihood=LabelTokens(token_ids=LABELS),
                targets=TARGETS,
            ) as assembly,
            pyro.validation_enabled(False),
        ):
            batch = next(assembly.problem.examples.batches(args.batch)).to(args.device)
            own = OwnStep(assembly.problem, batch)
            own()
            own_bytes = peak(own, args.device)
            found = medians({"peft": lora, "own": own}, args.steps, args.device, seconds=20)
            del own
        append(
            "large_step",
            model=f"random Llama, {args.layers} layers of width {args.width}",
            parameters=sum(p.numel() for p in lora.model.parameters()) if args.bits == 16 else None,
            bits=args.bits,
            method=name,
            batch=args.batch,
            length=args.length,
            steps=args.steps,
            peft_ms=round(1000 * found["peft"], 2),
            ms=round(1000 * found["own"], 2),
            ratio=round(found["own"] / found["peft"], 3),
            network_bytes=other or None,
            peft_peak_bytes=lora_bytes - both if lora_bytes else None,
            peak_bytes=own_bytes - other if own_bytes else None,
        )


if __name__ == "__main__":
    main()
