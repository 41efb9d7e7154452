"""Tiny random networks of any architecture of transformers: its own default configuration, shrunk by the names of settings.

A setting that is left out of the shrunk configuration (lists with an element for each layer) is computed anew by the
configuration from those that are there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, PretrainedConfig

WIDTH, HEADS, VOCABULARY, CLASSES, SEED = 32, 4, 128, 2, 0
# Standard deviation of weights: with the usual 0.02, a narrow network's outputs are little else than rounding.
SPREAD = 0.2

# The first pattern that matches the whole name of a number says its value; numbers that match none stay.
RULES: tuple[tuple[str, float], ...] = (
    (r"(task_)?type_vocab_size", 2),
    (r"(.*_)?vocab_size(_per_layer_input)?", VOCABULARY),
    (r"(num_|n_)?(.*_)?(kv_heads|heads|query_groups|group_num|head)|nhead", HEADS),
    (r"(.*_)?head_dim|d_kv|d_head|kv_channels|attention_head_size|dim_head|head_size", WIDTH // HEADS),
    (
        r"(.*_)?(hidden_size|d_model|n_embd|embed_dim|emb_dim|embedding_size|d_latents|embed_proj_dim)|dim|hidden_dim",
        WIDTH,
    ),
    (r"(pooler_)?output_(hidden_)?size|pooler_output_size|projection_dim|classifier_proj_size|rel_extent", WIDTH),
    (r"(.*_)?(intermediate_size|ffn_dim|d_ff|ffn_hidden_size|feed_forward_size)|n_inner|dff|d_inner", 2 * WIDTH),
    (r"(num_|n_|moe_num_)?(local_|routed_)?experts", 4),
    (r"(num_|n_)?experts_per_tok(en)?|moe_top_?k|num_selected_experts", 2),
    (r"n_group|topk_group|num_expert_group|first_k_dense_replace", 1),
    (r"(q|kv)_lora_rank", 16),
    (r"max_position_embeddings|n_positions|n_ctx|max_seq_len|max_(source|target)_positions|model_max_length", 128),
    (r"layerdrop|mask_(time|feature)_prob|.*drop_?path_rate", 0.0),
    (r"image_size", 64),
)
DEPTHS = r"num_(hidden_)?layers|n_layers?|depth|(.*_)?(encoder|decoder|attn)_layers|num_(encoder|decoder)_layers"
# What some configurations leave open, and their networks need.
ABSENT = {
    "num_key_value_heads": HEADS,
    "head_dim": WIDTH // HEADS,
    "n_group": 1,
    "topk_group": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
    "vocab_size": VOCABULARY,
}
DROPPED = object()
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_expand": 2, "mamba_d_state": 8, "mamba_n_groups": 1}
SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 64},
    "granitemoehybrid": {**_MAMBA, "layer_types": ["mamba", "attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "codegen": {"rotary_dim": 4},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "ernie4_5_moe": {"moe_k": 2},
    "reformer": {"is_decoder": True, "axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 16]},
    "xlnet": {"d_head": 8, "n_head": 4},
    "xmod": {"default_language": "en_XX"},
    "gemma4_assistant": {"hidden_size_per_layer_input": 0},
    "swin": {"embed_dim": 24, "image_size": 224},
    "swinv2": {"embed_dim": 24, "image_size": 224},
    "donut-swin": {"embed_dim": 24, "image_size": 224},
    "audio-spectrogram-transformer": {"max_length": 64},
    "longformer": {"attention_window": 4},
    "led": {"attention_window": 4},
    "efficientnet": {"hidden_dim": 2560},
    "encoder-decoder": {"decoder_start_token_id": 0},
    "longcat_flash": {"head_dim": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    "mistral4": {"head_dim": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    "musicgen": {"hidden_size": 32},
    "nemotron_h": {"n_groups": 1, "mamba_num_heads": 8, "mamba_head_dim": 8},
    "siglip2": {},
    "mobilebert": {"intra_bottleneck_size": 32, "true_hidden_size": 32, "embedding_size": 32},
    "lilt": {"hidden_size": 32, "channel_shrink_ratio": 4, "num_attention_heads": 4},
    "esm": {"vocab_size": VOCABULARY, "mask_token_id": 4},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4, "visual_embed": False},
}
for _kind in ("dots3_note", "dots3_note_text", "gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text"):
    SPECIAL[_kind] = {"per_layer_config": DROPPED}
TOKENS = re.compile(r"(.*_)?(token|pad|bos|eos|unk|mask|sep|cls|boi|eoi|boa|eoa|eod)_(token_)?(ids?|index)")
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth", "encoder_layers", "decoder_layers")


def tiny(kind: str, cls: type[nn.Module], layers: int = 2) -> PretrainedConfig:
    """Return the default configuration of an architecture, with small numbers in the place of large ones.

    Args:
        kind: the `model_type`.
        cls: the network's class: where it takes the configuration of a part, that of the part is returned.
        layers: how many layers; some need more than two, so that one of them has attention.
    """
    found = CONFIG_MAPPING[kind]()
    own = getattr(cls, "config_class", None)
    if own is not None and not isinstance(found, own):
        parts = (getattr(found, name, None) for name in getattr(found, "sub_configs", {}))
        found = next((part for part in parts if isinstance(part, own)), found)
    special = {"decoder_start_token_id": 0} if getattr(found, "is_encoder_decoder", False) else {}
    special |= {**SPECIAL.get(kind, {}), **SPECIAL.get(found.model_type, {})}
    before = found.to_dict()
    settings = {**shrunk(before, layers), **{name: value for name, value in special.items() if value is not DROPPED}}
    return type(found).from_dict({name: v for name, v in settings.items() if special.get(name) is not DROPPED})


def shrunk(settings: Mapping[str, Any], layers: int, before: int | None = None) -> dict[str, Any]:
    """Return settings with small numbers in the place of large ones, those of networks inside likewise.

    Args:
        settings: of a configuration.
        layers: how many layers it shall have.
        before: how many the configuration around it has.
    """
    found: dict[str, Any] = {}
    before = next((settings[name] for name in LAYERS if isinstance(settings.get(name), int)), before)
    for name, value in settings.items():
        if name in ("stage_names", "out_features", "out_indices"):
            continue
        # A list with an element for each layer is left to the configuration.
        if not (isinstance(value, list) and before is not None and len(value) == before > 2):
            found[name] = _shrunk(name, value, layers, before)
    return found


def _shrunk(name: str, value: Any, layers: int, before: int | None) -> Any:
    if isinstance(value, dict):
        return value if name in ("id2label", "label2id") else shrunk(value, layers, before)
    if name == "depths" and isinstance(value, list):
        return [1] * len(value)
    if value is None and name in ABSENT:
        return ABSENT[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if TOKENS.fullmatch(name):
        return value if 0 <= value < VOCABULARY else 1 + sum(map(ord, name)) % 9
    if name in ("initializer_range", "init_std"):
        return SPREAD
    if re.fullmatch(DEPTHS, name):
        return min(value, layers)
    rule = next((small for pattern, small in RULES if re.fullmatch(pattern, name)), None)
    return value if rule is None else type(value)(min(value, rule)) if value > 0 else value


def build(cls: type[nn.Module], config: PretrainedConfig) -> nn.Module:
    """Return a network with random weights, the same ones each time, on the CPU in float32."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return cls(config).float().eval()
