"""`BayesLM`: a model of lm-evaluation-harness whose probabilities and texts are averaged over draws of a posterior.

lm_eval.simple_evaluate(model=BayesLM(posterior, draws=8), tasks=["arc_easy"])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from bayespeft.errors import ConfigError, DataError, MissingPackageError
from bayespeft.fitting.from_pretrained import from_pretrained
from bayespeft.generation.score import Score
from bayespeft.likelihoods.tokens import whole_texts
from bayespeft.networks.configuration import is_encoder_decoder
from bayespeft.networks.positions import token_limit
from bayespeft.posterior.posterior import Posterior
from bayespeft.predictive.average import log_mean
from bayespeft.utils.annotations import Count, Draws, Seed
from bayespeft.utils.checks import check

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise MissingPackageError(
        f"this model is lm-evaluation-harness's ({error}): pip install 'lm-eval>=0.4.13'"
    ) from None

# The longest sequence where neither network nor tokenizer names one, in tokens: that of the harness's own models.
LONGEST = 2048
# What tasks call the most tokens of a text, the first that is there.
MOST = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
SAMPLING = ("temperature", "top_k", "top_p", "min_p")


class BayesLM(TemplateLM):  # type: ignore[misc]
    """A language model for lm-evaluation-harness that averages over draws of a posterior.

    The log-likelihood of a continuation is ln mean_s p_s(continuation | context), nats, an average over draws of whole
    continuations; that of a long document, which is read in windows, an average of whole documents. A continuation is greedy
    where each token is the most probable one under the averaged law of the next token. Texts are written as by
    `Posterior.generate`. A rolling document is scored behind the start token, which itself is not scored.

    Args:
        posterior: over a language model, with its tokenizer; or where one was saved, a directory or owner/name on the hub.
        model: the name of its network, where the posterior is named by a string; None for the one that it names itself.
        draws: to average; 0 for the posterior mean.
        seed: of the draws.
        batch_size: sequences per pass; the harness may say "auto", which is 8.
        max_length: tokens of a sequence, at most; None: as network and tokenizer say. Contexts lose their beginning.
        max_gen_toks: tokens of a text, at most, where the task says nothing.
        device: where a network goes that is loaded by name.
        others: none; what the harness may pass besides, such as `max_batch_size`, is left out where it is None.

    Raises:
        ConfigError: there is no tokenizer, or an argument can't be used. CheckpointError: as `bayespeft.from_pretrained`.
    """

    def __init__(
        self,
        posterior: Posterior | str,
        model: str | None = None,
        draws: int = 8,
        seed: int = 0,
        batch_size: int | str = 8,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        device: str = "auto",
        **others: Any,
    ) -> None:
        super().__init__()
        given = [name for name, value in others.items() if value is not None and name != "max_batch_size"]
        if given:
            raise ConfigError(f"BayesLM has no argument {given[0]!r}: posterior, model, draws, seed, batch_size, max_length, "
                              "max_gen_toks, device.")  # fmt: skip
        if isinstance(posterior, str):
            posterior = from_pretrained(posterior, model, device=device)
        if not isinstance(posterior, Posterior):
            raise ConfigError(f"posterior={posterior!r:.80} must be a posterior, or where one was saved.")
        if posterior.tokenizer is None or not hasattr(posterior.tokenizer, "pad_token_id"):
            raise ConfigError(
                "the harness speaks in texts, and the posterior has no tokenizer: pass tokenizer= to fit or load."
            )
        self.posterior, self.tokenizer = posterior, posterior.tokenizer
        self.draws, self.seed = check("BayesLM: draws", draws, Draws), check("BayesLM: seed", seed, Seed)
        size = 8 if isinstance(batch_size, str) and batch_size.startswith("auto") else batch_size
        self.batch_size = check("BayesLM: batch_size", int(size) if str(size).isdecimal() else size, Count)
        self.max_length: int = max_length or token_limit(None, posterior.model, self.tokenizer) or LONGEST
        self.max_gen_toks = check("BayesLM: max_gen_toks", max_gen_toks, Count)
        self.backend = "seq2seq" if is_encoder_decoder(posterior.model) else "causal"
        self._device = posterior.device

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token before what has no context: the start token, or the end token where there is none.

        Raises:
            ConfigError: the tokenizer has neither.
        """
        for name in ("bos_token_id", "cls_token_id", "eos_token_id"):
            if (found := getattr(self.tokenizer, name, None)) is not None:
                return int(found)
        raise ConfigError(
            "the tokenizer has neither a start nor an end token, which stand before texts without context."
        )

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer's name, for the harness's cache of requests."""
        return str(getattr(self.tokenizer, "name_or_path", "")).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the tokens of a text, behind special ones unless these are not wanted; an encoder's end with them, too."""
        if add_special_tokens is False:
            found: list[int] = self.tokenizer(string, add_special_tokens=False, verbose=False)["input_ids"]
            return found
        return whole_texts(self.tokenizer, [string], behind=self.backend == "seq2seq")[0]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return a conversation as the tokenizer's template writes it."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each document, nats: see the class."""
        windows, owners = [], []
        for number, request in enumerate(requests):
            tokens = self.tok_encode(request.args[0], add_special_tokens=False)
            parts = get_rolling_token_windows(tokens, self.prefix_token_id, self.max_length - 1, 1)
            for context, continuation in map(make_disjoint_window, parts):
                windows.append((context, continuation))
                owners.append(number)
        answers = [0.0] * len(requests)
        if windows:
            by_draw = self._score(windows).draw_log_probs
            whole = torch.zeros(len(by_draw), len(requests), dtype=by_draw.dtype)
            answers = log_mean(whole.index_add_(1, torch.tensor(owners), by_draw)).tolist()
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
        return answers

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the text that is written behind each context, up to a stop string.

        Raises:
            ConfigError: the task asks for something that averaged draws can't do, such as beams.
        """
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(json.dumps(request.args[1], sort_keys=True, default=str), []).append(number)
        found = [""] * len(requests)
        for numbers in groups.values():
            settings = self._settings(requests[numbers[0]].args[1])
            contexts = [self._cut(self.tok_encode(requests[i].args[0]), settings["max_new_tokens"]) for i in numbers]
            texts = self.posterior.generate(
                _unpadded(contexts), self.draws, seed=self.seed, batch_size=self.batch_size, **settings
            ).texts
            for number, text in zip(numbers, texts or (), strict=True):
                found[number] = text
                self.cache_hook.add_partial("generate_until", requests[number].args, text)
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[Any], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Return log-likelihood and greediness of (strings, context, continuation), the last two in tokens."""
        if not requests:
            return []
        scores = self._score([(context, continuation) for _, context, continuation in requests])
        answers = [
            (whole, bool(best.all())) for whole, best in zip(scores.log_probs.tolist(), scores.token_best, strict=True)
        ]
        for (strings, _, _), answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", strings, answer)
        return answers

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> Score:
        contexts = [self._cut(context, len(continuation)) for context, continuation in pairs]
        return self.posterior.score(
            _unpadded(contexts), [target for _, target in pairs], self.draws, self.seed, batch_size=self.batch_size
        )

    def _cut(self, context: list[int], more: int) -> list[int]:
        """Return the end of a context that leaves room for so many tokens; an encoder has its own.

        Raises:
            DataError: there is no room.
        """
        room = self.max_length - (0 if self.backend == "seq2seq" else more)
        if room < 1:
            raise DataError(f"{more} tokens leave no room for a context, of {self.max_length} that a sequence may have: raise "
                            "max_length, or lower max_gen_toks.")  # fmt: skip
        return context[-room:]

    def _settings(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a task as those of `Posterior.generate`; without sampling those of sampling mean nothing."""
        options = dict(wanted)
        until = options.pop("until", None) or ()
        most = next((int(options[name]) for name in MOST if options.get(name) is not None), self.max_gen_toks)
        samples, heat = options.pop("do_sample", None), float(options.pop("temperature", None) or 0.0)
        samples = heat > 0 if samples is None else bool(samples) and heat != 0
        sampling = {name: value for name in SAMPLING if (value := options.pop(name, None)) is not None}
        others = {name: value for name, value in options.items() if name not in MOST}
        stop = [until] if isinstance(until, str) else [text for text in until if text]
        drawn = {"do_sample": True, "temperature": heat, **sampling} if samples else {}
        return {"stop": stop, "max_new_tokens": most, **drawn, **others}


def _unpadded(rows: Sequence[list[int]]) -> dict[str, list[list[int]]]:
    """Return prompts of which no token is padding."""
    return {"input_ids": list(rows), "attention_mask": [[1] * len(row) for row in rows]}
