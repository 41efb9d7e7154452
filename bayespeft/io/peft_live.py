"""A LoRA that peft holds in memory, as `save_pretrained` would write it."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor

from bayespeft.errors import ConfigError


def is_live(source: Any) -> bool:
    """Whether this is a network of peft's; peft is not imported for that."""
    library = sys.modules.get("peft")
    return library is not None and isinstance(source, library.PeftModel)


def read_live(network: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and tensors, copied to the CPU, of the adapter of a `peft.PeftModel` that is active.

    Raises:
        ConfigError: several adapters are active.
    """
    from peft import get_peft_model_state_dict

    active = network.active_adapters
    if len(active) != 1:
        raise ConfigError(
            f"the PeftModel has the adapters {', '.join(map(repr, active))} active, and one LoRA is read: choose it with "
            "set_adapter(name)."
        )
    config = {
        # Enumerations are texts, and sets are lists, in a file.
        name: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for name, value in network.peft_config[active[0]].to_dict().items()
    }
    found = get_peft_model_state_dict(network, adapter_name=active[0])
    # What is trained on afterwards must not change what was read.
    return config, {name: value.detach().to("cpu", copy=True) for name, value in sorted(found.items())}
