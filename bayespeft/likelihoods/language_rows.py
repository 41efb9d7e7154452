"""Rows of a language model to tokens: of a source, of its target, and which of the target's are scored.

A row has `source` and `target`, or `prompt` and `completion`, as texts; or a conversation, which the tokenizer's chat template
writes: `messages`, of which every message of the assistant is scored, or `prompt` and `completion` as lists of messages (or the
answer's text as completion), of which the completion is. `tools` are for the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bayespeft.data.columns import Row, is_conversation, remedy
from bayespeft.errors import DataError
from bayespeft.likelihoods.chat import prompt_tokens, scored_tokens
from bayespeft.likelihoods.tokens import continuations, whole_texts
from bayespeft.networks.tokens import IGNORED
from bayespeft.utils.warned import warn

COLUMNS = "source, target | prompt, completion | messages"


class TokenisedPair(NamedTuple):
    """Tokens of a source and its target.

    Attributes:
        source: what comes before the target.
        target: with its end token; None where the row has none.
        labels: of the target's tokens, -100 where one is not scored.
    """

    source: list[int]
    target: list[int] | None = None
    labels: list[int] | None = None


@dataclass(frozen=True)
class LanguageReader:
    """Reads texts and conversations with one tokenizer.

    Attributes:
        tokenizer: reads.
        template: is written around texts, with `{source}`.
        encoder_decoder: whether targets stand by themselves, and sources end with what the tokenizer puts there.
        ends: end tokens; the tokenizer's own is the first, and is put behind targets that are texts.
    """

    tokenizer: Any
    template: str
    encoder_decoder: bool
    ends: tuple[int, ...]

    def rows(self, rows: Sequence[Row], what: str = "row") -> list[TokenisedPair]:
        """Return the tokens of each row; `what` it is, for messages.

        Raises:
            DataError: a column is missing or has a value that can't be used, or a conversation can't be written, or has no
                answer.
        """
        spoken = [i for i, row in enumerate(rows) if is_conversation(row.get("messages", row.get("prompt")))]
        texts = [i for i in range(len(rows)) if i not in set(spoken)]
        found = {i: self._conversation(rows[i], f"{what} {i}") for i in spoken}
        found |= dict(zip(texts, self._texts([_pair(rows[i], f"{what} {i}") for i in texts]), strict=True))
        return [found[i] for i in range(len(rows))]

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text in the template; a causal model's prompt ends where its text ends."""
        return whole_texts(self.tokenizer, [self.filled(text) for text in texts], behind=self.encoder_decoder)

    def filled(self, text: str) -> str:
        """Return a text in the template."""
        return self.template.replace("{source}", text)

    def targets(self, prompts: Sequence[str], tokens: Sequence[Sequence[int]], texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of targets behind their prompts, with the end token; a decoder's stand by themselves.

        A warning says where prompt and target, decoded together, don't read as their texts do.

        Args:
            prompts: texts, in their template.
            tokens: of these.
            texts: of the targets.
        """
        if self.encoder_decoder:
            return [self.target(text) for text in texts]
        found, lost = continuations(self.tokenizer, prompts, tokens, texts)
        if lost:
            i = lost[0]
            reads = self.tokenizer.decode([*tokens[i], *found[i]], skip_special_tokens=True)
            warn(
                f"{len(lost)} of {len(texts)} targets have no tokens with which prompt and target read as their texts do: "
                f"{prompts[i][-20:]!r} and {texts[i][:20]!r} read {reads[-60:]!r}. Let the prompt end where a word ends, and "
                "end it, or begin the target, with the space that stands between.",
            )
        return [self._ended(ids) for ids in found]

    def target(self, text: str) -> list[int]:
        """Return the tokens of a target by itself, with the end token."""
        return self._ended(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _texts(self, pairs: Sequence[tuple[str, str | None]]) -> list[TokenisedPair]:
        prompts = self.prompts([source for source, _ in pairs])
        given = [(i, self.filled(source), target) for i, (source, target) in enumerate(pairs) if target is not None]
        targets = self.targets([s for _, s, _ in given], [prompts[i] for i, _, _ in given], [t for _, _, t in given])
        found = {i: ids for (i, _, _), ids in zip(given, targets, strict=True)}
        return [TokenisedPair(prompt, found.get(i), found.get(i)) for i, prompt in enumerate(prompts)]

    def _conversation(self, row: Row, what: str) -> TokenisedPair:
        if self.encoder_decoder:
            raise DataError(
                f"{what} is a conversation, which chat templates write for causal language models, and this network has an "
                "encoder: write rows with source and target."
            )
        tools = row.get("tools")
        if "messages" in row:
            whole, given = row["messages"], 0
        else:
            whole, given = row["prompt"], len(row["prompt"])
            if "completion" not in row:
                return TokenisedPair(prompt_tokens(self.tokenizer, whole, what, tools))
            answer = row["completion"]
            answer = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer
            if not is_conversation(answer):
                raise DataError(
                    f"{what}: column 'completion' is {answer!r:.80}: a text or a list of messages is expected."
                )
            whole = [*whole, *answer]
        ids, scored = scored_tokens(self.tokenizer, whole, what, given=given, ends=self.ends, tools=tools)
        first = scored.index(True)
        labels = [token if on else IGNORED for token, on in zip(ids, scored, strict=True)]
        return TokenisedPair(ids[:first], ids[first:], labels[first:])

    def _ended(self, tokens: list[int]) -> list[int]:
        """Return a target with its end token, which one that a chat template wrote has already."""
        return tokens if tokens and tokens[-1] in self.ends else [*tokens, self.ends[0]]


def _pair(row: Row, what: str) -> tuple[str, str | None]:
    """Return the texts of a row's source and target; None for a target that it has not."""
    names = ("prompt", "completion") if "prompt" in row else ("source", "target")
    for name in names if names[1] in row else names[:1]:
        if not isinstance(row.get(name), str):
            expected = "a string" if name in ("source", "target") else "a string, or a list of messages"
            raise DataError(
                f"{what}: column '{name}' must be {expected}, got {row.get(name)!r:.80}. language_modelling reads {COLUMNS}; "
                f"this row has {', '.join(map(str, row))}. {remedy(row, *names)}"
            )
    return row[names[0]], row.get(names[1])
