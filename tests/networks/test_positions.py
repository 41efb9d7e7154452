"""The longest sequence is exactly what the network takes, whatever its family; positions count from the first token."""

import pytest
import torch
import transformers
from torch import nn

from bayespeft.networks.positions import left_positions, longest, token_limit

SMALL = {
    "vocab_size": 32,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
}


def network(family: str, **settings) -> nn.Module:
    config = getattr(transformers, f"{family}Config")(**(SMALL | settings))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(transformers, f"{family}ForSequenceClassification")(config).eval()


# Families that count from the padding row on, at several padding tokens, and others.
FAMILIES = [
    *(("Roberta", {"pad_token_id": pad}, 16 - pad - 1) for pad in (0, 1, 3)),
    ("XLMRoberta", {"pad_token_id": 3}, 12),
    ("Camembert", {"pad_token_id": 1}, 14),
    ("Data2VecText", {"pad_token_id": 1}, 14),
    ("MPNet", {"pad_token_id": 1}, 14),
    ("Esm", {"pad_token_id": 1, "mask_token_id": 4, "position_embedding_type": "absolute"}, 14),
    ("Xmod", {"pad_token_id": 1, "default_language": "en_XX"}, 14),
    ("Bert", {"pad_token_id": 3}, 16),
    ("OPT", {"pad_token_id": 1, "word_embed_proj_dim": 8, "ffn_dim": 8}, 16),
]


@pytest.mark.parametrize(("family", "settings", "limit"), FAMILIES)
def test_the_limit_is_the_longest_that_runs(family, settings, limit):
    model = network(family, **settings)
    assert longest(model) == limit
    ids = torch.full((1, limit + 1), 7)
    with torch.no_grad():
        model(input_ids=ids[:, :-1], attention_mask=torch.ones_like(ids[:, :-1]))
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_no_limit_is_none():
    config = transformers.XLNetConfig(vocab_size=32, d_model=8, n_layer=1, n_head=2, d_inner=8)
    xlnet = transformers.XLNetForSequenceClassification(config)
    assert xlnet.config.max_position_embeddings == -1
    assert longest(xlnet) is None
    assert longest(nn.Linear(2, 2)) is None
    assert token_limit(5, xlnet, None) == 5


@pytest.mark.parametrize("family", ["Bert", "OPT", "Roberta"])
def test_padding_on_the_left_moves_no_position(family):
    """Roberta tells padding by itself; the others are told positions."""
    extra = {"word_embed_proj_dim": 8, "ffn_dim": 8} if family == "OPT" else {}
    model = network(family, pad_token_id=1, **extra)
    ids = torch.tensor([[1, 1, 5, 6, 7]])
    mask = (ids != 1).long()
    with torch.no_grad():
        body = model.base_model
        padded = body(input_ids=ids, attention_mask=mask, **left_positions(model, mask)).last_hidden_state
        plain = body(input_ids=ids[:, 2:], attention_mask=mask[:, 2:]).last_hidden_state
    torch.testing.assert_close(padded[:, 2:], plain)
    assert left_positions(model, torch.tensor([[1, 1, 0]])) == {}


def test_places_in_pictures_are_left_to_the_network_which_padding_on_the_left_does_not_move():
    text = SMALL | {"num_key_value_heads": 2, "rope_scaling": {"type": "default", "mrope_section": [1, 1, 0]}}
    vision = {"depth": 1, "embed_dim": 8, "hidden_size": 8, "num_heads": 2, "patch_size": 2}
    tokens = {"image_token_id": 1, "video_token_id": 2, "vision_start_token_id": 3, "vision_end_token_id": 4}
    config = transformers.Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.Qwen2VLForConditionalGeneration(config).eval()
    ids = torch.tensor([[0, 0, 5, 6, 7]])
    mask = (ids > 0).long()
    assert left_positions(model, mask) == {}
    with torch.no_grad():
        padded = model(input_ids=ids, attention_mask=mask).logits
        plain = model(input_ids=ids[:, 2:], attention_mask=mask[:, 2:]).logits
    torch.testing.assert_close(padded[:, 2:], plain)
