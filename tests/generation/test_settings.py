"""Settings of generation that can't be used."""

from __future__ import annotations

import pytest

from bayespeft.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": 0.5}, "temperature=0.5 changes nothing without do_sample=True"),
        ({"top_p": 0.0, "do_sample": True}, "top_p"),
        ({"num_return_sequences": 2}, "num_return_sequences=2 changes nothing without"),
        ({"mode": "mean"}, "mode"),
        ({"draws": -1}, "draws=-1"),
        ({"draws": "auto"}, "draws='auto' must be a whole number"),
        ({"stop": ""}, "stop has an empty string"),
        ({"stop": 5}, "stop"),
        ({"min_p": 0.1}, "min_p=0.1 changes nothing without do_sample=True"),
        ({"min_p": 1.5, "do_sample": True}, "min_p"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens=9 is more than max_new_tokens=8"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
        ({"eos_token_id": 64}, r"eos_token_id=\(64,\): the network knows 0..63"),
        ({"num_beams": 4}, "a beam is a search for the most probable text of one network.*Options: draws, mode"),
        ({"stop_strings": ["x"]}, "no option 'stop_strings': pass stop"),
        ({"logits_processor": []}, "no option 'logits_processor'"),
        ({"nonsense": 1}, "no option 'nonsense'. Options: draws, mode, max_new_tokens"),
    ],
)
def test_settings_that_cannot_be_used(posterior, options, message):
    with pytest.raises(ConfigError, match=message):
        posterior.generate("the cat", **options)
