"""What a step is counted to cost against what it takes, on random weights; and the projection for large networks.

    python -m paper_repro.efficiency.plan [--sizes 10,30,100,300,1000] [--project 7,70,405] [--batch 1 --length 64]

A step's CPU seconds should be its operations over one rate, whatever the size: `gflop_per_second` of each size says how nearly.
Activations are what autograd holds in a real step. The projection is per example of 512 tokens in bf16; weights and optimiser
states may be spread over devices, activations of a batch, too.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bayespeft import registry
from bayespeft.config import TrainConfig
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.fitting.costs import Kept, costs
from bayespeft.likelihoods.label_tokens import LabelTokens
from paper_repro.efficiency.step import LABELS, OwnStep, random_batch
from paper_repro.results import append

# Width, inner width, layers, heads, key-value heads, vocabulary; by millions and by billions of numbers.
SMALL = {
    10: (256, 688, 10, 4, 4, 4000),
    30: (448, 1200, 10, 7, 7, 8000),
    100: (768, 2048, 12, 12, 12, 16000),
    300: (1024, 2816, 22, 16, 16, 16000),
    1000: (2048, 5632, 22, 32, 4, 32000),
}
LARGE = {
    7: (4096, 11008, 32, 32, 32, 32000),
    70: (8192, 28672, 80, 64, 8, 128256),
    405: (16384, 53248, 126, 128, 8, 128256),
}


def llama(shape: tuple[int, ...], dtype: torch.dtype) -> LlamaForCausalLM:
    """Return a Llama of that shape with random weights, without gradients of its own: a fit takes none of it."""
    width, inner, layers, heads, pairs, vocabulary = shape
    config = LlamaConfig(
        hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=pairs, vocab_size=vocabulary, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM._from_config(config, dtype=dtype).requires_grad_(False)


def held(step: OwnStep) -> int:
    """Return the bytes that autograd keeps in one step, but for the network's parameters."""
    keep = Kept(step.problem.model)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return keep.bytes


def main() -> None:
    """Measure small networks, count large ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,30,100,300,1000", help="millions of numbers, measured")
    parser.add_argument("--project", default="7,70,405", help="billions of numbers, counted")
    parser.add_argument("--method", default="melora")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    chosen = registry.get("methods", args.method)
    for size in filter(None, args.sizes.split(",")):
        shape = SMALL[int(size)]
        counted = costs(lambda shape=shape: llama(shape, torch.float32), chosen, args.batch, args.length)
        model = llama(shape, torch.float32).eval()
        _, _, rows = random_batch(args.batch, args.length, "cpu")
        method = choose_method(args.method, None, TrainConfig(batch_size=args.batch))
        with assemble(model, rows, method, likelihood=LabelTokens(token_ids=LABELS)) as made:
            step = OwnStep(made.problem, next(iter(made.problem.examples.batches(args.batch))))
            activations = held(step)
            seconds = []
            for _ in range(args.repeats):
                begin = time.process_time()
                step()
                seconds.append(time.process_time() - begin)
        median = statistics.median(seconds)
        append(
            "plan",
            parameters=counted.parameters,
            method=args.method,
            batch=args.batch,
            length=args.length,
            step_gflop=round(counted.step_flops / 1e9, 2),
            cpu_seconds=round(median, 3),
            gflop_per_second=round(counted.step_flops / 1e9 / median, 1),
            counted_activation_bytes=counted.activation_bytes,
            activation_bytes=activations,
            trained=counted.trained,
            really_trained=made.problem.joint_guide.trainable(),
        )
    for size in filter(None, args.project.split(",")):
        found = costs(
            lambda size=size: llama(LARGE[int(size)], torch.bfloat16), registry.get("methods", args.method), 1, 512
        )
        append(
            "projection",
            billions=int(size),
            method=args.method,
            parameters=found.parameters,
            trained=found.trained,
            weight_bytes=found.weight_bytes,
            trained_bytes=found.adapter_bytes + found.gradient_bytes + found.optimiser_bytes,
            activation_bytes_an_example=found.activation_bytes,
            step_tflop_an_example=round(found.step_flops / 1e12, 2),
        )


if __name__ == "__main__":
    main()
