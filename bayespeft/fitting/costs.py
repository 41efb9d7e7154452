"""What a fit will cost, before anything is loaded: operations, and bytes of weights, gradients, optimiser and activations.

A step is run with tensors that have shapes and no storage (torch's FakeTensorMode), so that the counts are those of the
network's own code: multiplications and additions as torch's FlopCounterMode counts them (matrix products and attention), and as
activations every tensor that autograd keeps for the backward pass, each storage once, but for parameters. It is the step of a
point: noise of the weights comes on top, r x r numbers for each example and layer with r x r cores, and so do a fresh head and
the priors' terms, a few times as many numbers as are trained, whatever the batch. The last block is counted whole, although a
fit that reads one position runs little of it at the others. No mask is given, as what follows from its values can't be known:
with padding, attention may keep more than is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from bayespeft.adapters.attach import Attachment, Placement
from bayespeft.errors import AttachError, BayesPeftError, ConfigError
from bayespeft.fitting.stacking import blank_stacks
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.layer import Layer
from bayespeft.layers.targets import find_layers
from bayespeft.layers.weights import Shared
from bayespeft.methods.base import Method
from bayespeft.networks.forward import takes
from bayespeft.networks.positions import has_table, longest
from bayespeft.variational.joint_guide import JointGuide

# Bytes of a float32; trained numbers are float32 whatever the network is.
FLOAT = 4


def _products(count: int, query: Sequence[int], key: Sequence[int]) -> int:
    """Return the operations of so many products over queries (n, heads, q, d) and keys (n, heads, k, d)."""
    rows, heads, queries, width = query
    return 2 * count * rows * heads * queries * key[-2] * width


# torch's counter knows the fused attention of GPUs only. Forwards: scores and values; backwards: scores once more, and the
# gradients of scores, queries, keys and values.
ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, *_, **__: _products(2, q, k),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda _, q, k, *__, **___: _products(5, q, k),
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of a network with adapters.

    Attributes:
        parameters: numbers of the network.
        layers: how many are adapted.
        trained: numbers that are learned: of the adapters, and of the guide.
        weight_bytes: of the network.
        activation_bytes: kept by one step's forward pass for its backward pass.
        forward_flops: operations of one forward pass over the batch, a multiplication and an addition counting as two.
        step_flops: operations of a training step.
    """

    parameters: int
    layers: int
    trained: int
    weight_bytes: int
    activation_bytes: int
    forward_flops: int
    step_flops: int

    @property
    def adapter_bytes(self) -> int:
        """Of what is trained, in float32."""
        return FLOAT * self.trained

    @property
    def gradient_bytes(self) -> int:
        """Of its gradients."""
        return FLOAT * self.trained

    @property
    def optimiser_bytes(self) -> int:
        """Of AdamW's two moments."""
        return 2 * FLOAT * self.trained

    @property
    def bytes(self) -> int:
        """Of all of it, at the end of a step's forward pass."""
        return (
            self.weight_bytes + self.adapter_bytes + self.gradient_bytes + self.optimiser_bytes + self.activation_bytes
        )


def costs(make: Callable[[], nn.Module], method: Method, batch: int, length: int) -> Costs:
    """Count what training a method on a network costs.

    Args:
        make: makes the network, a Hugging Face one that reads `input_ids`; it is called where tensors have no storage.
        method: what is adapted, and how it is uncertain.
        batch: examples of a step.
        length: tokens of each. A language model's outputs are those of the last token.

    Raises:
        ConfigError: no examples or tokens, or more tokens than the network has positions for; the adapter reads the network's
            weights, shares a factor between layers, or learns sparse numbers.
        AttachError: the network can't run without storage, or on tokens alone.
        TargetError: the targets match no layer.
    """
    if batch < 1 or length < 1:
        raise ConfigError(f"a batch of {batch} examples of {length} tokens: at least one of each is needed.")
    with FakeTensorMode():
        model = make().eval()
        most = longest(model) if has_table(model) else None
        if most is not None and length > most:
            raise ConfigError(
                f"{length} tokens: {type(model).__name__} has positions for {most}, and a fit cuts longer texts there."
            )
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        layers = find_layers(model, method.targets)
        parts = {shape: _parts(layer, method) for shape, layer in _by_shape(layers).items()}
        placements = [Placement(layer, method.adapter) for layer in layers]
        weights = {
            layer.name: {
                stack.factor: Shared(torch.zeros(stack.init.shape[1:], requires_grad=stack.role != "fixed"))
                for stack in parts[layer.in_features, layer.out_features][0]
            }
            for layer in layers
        }
        kept = Kept(model)
        counter = FlopCounterMode(display=False, custom_mapping=ATTENTION)
        with Attachment(placements) as attachment, counter as flops, torch.enable_grad():
            attachment.bind(weights)
            with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
                outputs = _logits(model, batch, length).float().logsumexp(-1).sum()
            forward = flops.get_total_flops()
            torch.autograd.backward(outputs)
        return Costs(
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            layers=len(layers),
            trained=sum(parts[layer.in_features, layer.out_features][1] for layer in layers),
            weight_bytes=sum(parameter.numel() * parameter.itemsize for parameter in model.parameters()),
            activation_bytes=kept.bytes,
            forward_flops=forward,
            step_flops=flops.get_total_flops(),
        )


def _by_shape(layers: Sequence[Layer]) -> dict[tuple[int, int], Layer]:
    return {(layer.in_features, layer.out_features): layer for layer in layers}


def _parts(layer: Layer, method: Method) -> tuple[list[StackedFactor], int]:
    """Return the stacks of one layer alone, and how many numbers are trained at it."""
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    with unset_fake_temporarily():
        blank = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
        alone = Layer(layer.name, layer.in_features, layer.out_features, "linear", blank)
        generator = torch.Generator().manual_seed(0)
        try:
            stacks = blank_stacks([Placement(alone, method.adapter)], method, generator)
            readable = all(stack.init.device.type == "cpu" for stack in stacks)
        except (NotImplementedError, RuntimeError):
            readable = False
        if not readable:
            raise ConfigError(
                f"adapter '{method.adapter.kind}' reads the network's weights before it has a size: plan with a method of the "
                "same rank that does not, such as melora or blob."
            )
        if any(stack.shared for stack in stacks):
            raise ConfigError(
                f"adapter '{method.adapter.kind}' has a factor that all layers share, which is not planned layer by layer: "
                "plan with melora or blob."
            )
        if any(not stack.init.is_floating_point() for stack in stacks):
            raise ConfigError(
                f"adapter '{method.adapter.kind}' learns numbers at positions that it chooses, and these are looked at where "
                "there is nothing to look at: plan with melora or blob."
            )
        return stacks, JointGuide(stacks, method.guide, generator).trainable()


def _logits(model: nn.Module, batch: int, length: int) -> Tensor:
    """Run the network.

    Raises:
        AttachError: it fails.
    """
    try:
        logits: Tensor = model(**_inputs(model, batch, length)).logits
    except BayesPeftError:
        raise
    except Exception as error:  # whatever a network raises whose code looks at values, which are not there
        raise AttachError(
            f"{type(model).__name__} can't be planned: without storage, called with token numbers alone, it fails with "
            f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}. Plan a network of the same size whose code does "
            "not look at its inputs' values, such as a LLaMA, another dtype, or one example a batch."
        ) from error
    return logits


def _inputs(model: nn.Module, batch: int, length: int) -> dict[str, Any]:
    """Return what a network is called with: no mask, since what follows from its values can't be known here."""
    found: dict[str, Any] = {"input_ids": torch.zeros(batch, length, dtype=torch.int64)}
    if takes(model, "logits_to_keep"):
        found["logits_to_keep"] = 1
    if takes(model, "use_cache"):
        found["use_cache"] = False
    return found


class Kept:
    """Adds up the storages that autograd keeps, but for the network's parameters: the first of `saved_tensors_hooks`.

    Attributes:
        bytes: of what it was given so far.
    """

    def __init__(self, model: nn.Module) -> None:
        self.bytes = 0
        # Held, so that no later storage can have the place of one that is gone.
        self._seen = {p.untyped_storage()._cdata: p.untyped_storage() for p in model.parameters()}

    def __call__(self, tensor: Tensor) -> Tensor:
        """Take note of a tensor, and return it."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen[storage._cdata] = storage
            self.bytes += storage.nbytes()
        return tensor
