"""Label tokens of a causal language model: the answer's distribution is the softmax over K tokens at the prompt's end.

Multiple choice as a prompt with lettered choices, as in BLoB and Laplace-LoRA. Only the K label rows of the output
embedding meet the hidden states: the full vocabulary is never computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from bayespeft.data.batch import Batch
from bayespeft.data.columns import Row, label_of, remedy
from bayespeft.data.examples import Examples
from bayespeft.data.pictured import PicturedExamples
from bayespeft.errors import AttachError, DataError
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.likelihoods.prompts import LETTERS, about_image, answer_tokens, multiple_choice
from bayespeft.likelihoods.tokens import added, ending, whole_texts
from bayespeft.networks.configuration import setting
from bayespeft.networks.embeddings import output_embedding
from bayespeft.networks.positions import left_positions, token_limit
from bayespeft.utils.sharded import is_sharded

# How many choices a row offers, and the logit of labels beyond them: its exponential is 0 at any temperature that is of use.
OFFERED, ABSENT = "offered", -1e5


class LabelTokens(Categorical):
    """Categorical over the logits of K label tokens at the last real position, of the choices that a row offers.

    Rows with fewer choices than labels share no probability with labels that they lack. Rows that are tokenised may say their
    number of choices in a column `offered`.

    Attributes:
        template: the prompt, with `{question}` and `{choices}`.
        labels: what stands for each class; filled with as many letters as the training rows have choices.
        token_ids: the token of each label; filled from the tokenizer, or given for rows that are already tokenised.
    """

    columns: ClassVar[str] = "question, choices, answer, [image]"
    reads: ClassVar[tuple[str, ...]] = (OFFERED,)
    template: str = "Question: {question}\n{choices}\nAnswer:"
    labels: tuple[str, ...] = ()
    token_ids: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> LabelTokens:
        for name, values in (("labels", self.labels), ("token_ids", self.token_ids)):
            if len({*values}) < len(values) or len(values) == 1:
                raise ValueError(f"{name}={values}: one of its own for each class, of which there are at least two")
        if self.labels and self.token_ids and len(self.labels) != len(self.token_ids):
            raise ValueError(f"{len(self.labels)} labels and {len(self.token_ids)} token_ids: they must be as many")
        if not all(label.strip() and label.isprintable() for label in self.labels):
            raise ValueError(f"labels={self.labels}: each must be a text that can be read")
        if "{question}" not in self.template:
            raise ValueError(
                f"template={self.template!r:.80} lacks {{question}}, so that all rows would be the same prompt"
            )
        return self

    @property
    def _called(self) -> tuple[str, ...]:
        return self.labels

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> LabelTokens:
        """Find the labels' tokens.

        Raises:
            DataError: neither rows with choices nor `token_ids` are there, or a label is not one token.
        """
        reader = text_reader(tokenizer)
        limit = token_limit(self.max_length, model, reader)
        if self.token_ids:
            return self.replace(max_length=limit)
        if reader is None or (rows is None and not self.labels):
            raise DataError(
                "label_tokens must know which tokens are the labels: pass rows with question, choices, answer and "
                "tokenizer=, or likelihood=LabelTokens(token_ids=(...)) for rows that are already tokenised."
            )
        labels = self.labels or tuple(LETTERS[: max(len(_choices(row, i)) for i, row in enumerate(rows or ()))])
        prompt = multiple_choice("?", labels, self.template, labels)
        if reader is not tokenizer:
            prompt = about_image(tokenizer, prompt)
        return self.replace(labels=labels, token_ids=answer_tokens(reader, prompt, labels), max_length=limit)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
        """Tokenize the prompt of each row; one that is too long loses its beginning, but for special tokens, not its end."""
        prompts = [self.prompt(row, i) for i, row in enumerate(rows)]
        encoded, (front, _) = whole_texts(tokenizer, prompts, behind=False), added(tokenizer)
        kept = [ending(ids, self.max_length or len(ids), front) for ids in encoded]
        examples: list[dict[str, Any]] = [
            {
                "input_ids": ids,
                "attention_mask": [1] * len(ids),
                OFFERED: len(row["choices"]),
                "whole": len(whole),
            }
            for row, ids, whole in zip(rows, kept, encoded, strict=True)
        ]
        for i, (row, example) in enumerate(zip(rows, examples, strict=True)):
            if (answer := self.answer(row, i)) is not None:
                example["labels"] = answer
        return examples

    def pictured(self, rows: Sequence[Row], processor: Any) -> Examples:
        """Return rows with an image, or several, as examples; a processor reads prompt and images together.

        Raises:
            DataError: it can't be told where a prompt has its image.
        """
        return PicturedExamples(
            rows,
            processor,
            lambda row, i, images: about_image(processor, self.prompt(row, i), images),
            self.answer,
            lambda row, _: {OFFERED: len(row["choices"])},
            self.max_length,
        )

    def prompt(self, row: Row, i: int) -> str:
        """Return the prompt of a row with the number i.

        Raises:
            DataError: it has no question, no choices, or more of them than there are labels.
        """
        choices = _choices(row, i)
        if len(choices) > len(self.token_ids):
            raise DataError(
                f"row {i} has {len(choices)} choices, but there are {len(self.token_ids)} labels "
                f"({', '.join(self.labels)}); pass likelihood=LabelTokens(labels=...) with as many."
            )
        if not isinstance(row.get("question"), str):
            raise DataError(
                f"row {i}: column 'question' must be a string, got {row.get('question')!r}. {remedy(row, 'question')}"
            )
        return multiple_choice(row["question"], choices, self.template, self.labels or LETTERS)

    def answer(self, row: Row, i: int) -> Any:
        """Return the position of a row's answer; None where it has none.

        Raises:
            DataError: it is none of the choices.
        """
        answer = label_of(row, i)
        if isinstance(answer, Integral) and not 0 <= int(answer) < len(row["choices"]):
            raise DataError(
                f"row {i}: the answer is {answer}, and there are {len(row['choices'])} choices: a position is "
                "expected, 0 for the first, or a letter, 'A' for the first."
            )
        return answer

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the logits of the label tokens (n, K) at each row's last real position."""
        return self.logits_behind(model, batch, {"use_cache": False})

    def among(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return logits (..., n, K) without those of labels that a row does not offer.

        Raises:
            DataError: the label of a row is one of those, or a row offers none, or more than there are labels.
        """
        offered = batch.inputs.get(OFFERED) if isinstance(batch.inputs, Mapping) else None
        if offered is None:
            return logits
        most = logits.shape[-1]
        # What is exported can't look at values.
        if not torch.compiler.is_compiling() and bool(
            (strange := ((offered < 1) | (offered > most) | (offered != offered.round()))[: len(batch)]).any()
        ):
            row = int(strange.nonzero()[0, 0])
            raise DataError(
                f"example {int(batch.index[row])} has {float(offered[row]):g} in column '{OFFERED}': how many of the {most} "
                "labels it may have is expected, a whole number from 1 on."
            )
        if batch.labels is not None and bool((outside := batch.labels >= offered[: len(batch)]).any()):
            row = int(outside.nonzero()[0, 0])
            raise DataError(
                f"example {int(batch.index[row])} has the label {int(batch.labels[row])}, and offers {int(offered[row])} "
                "choices: a position among them is expected, 0 for the first."
            )
        labels = torch.arange(logits.shape[-1], device=logits.device)
        return logits.masked_fill(labels >= offered.to(logits.device)[:, None], ABSENT)

    def logits_behind(self, model: nn.Module, batch: Batch, cache: Mapping[str, Any]) -> Tensor:
        """Return the logits of the label tokens (n, K), as `logits`, of rows whose beginning is in a key-value cache already.

        Args:
            model: the network.
            batch: `input_ids` are what is left to read, and `attention_mask` covers what is in the cache, too.
            cache: the network's arguments that hold it.
        """
        inputs = batch.inputs
        if not isinstance(inputs, Mapping):
            raise DataError("label_tokens needs batches with input_ids, not one tensor.")
        mask = inputs.get("attention_mask")
        if mask is None:
            mask = torch.ones_like(inputs["input_ids"])
        last = inputs["input_ids"].shape[1] - 1 - mask.flip(1).argmax(1)
        own = {name: value for name, value in inputs.items() if name != OFFERED}
        arguments = {**left_positions(model, mask), **own, "attention_mask": mask, **cache}
        ids = torch.tensor(self.token_ids, device=mask.device)
        head, name = _output_embedding(model)
        size = setting(model, "vocab_size") if head is None else len(head.weight)
        if size is not None and max(self.token_ids) >= size:
            raise DataError(f"token_ids has {max(self.token_ids)}, and {type(model).__name__} knows 0..{size - 1}.")
        if head is None or head._forward_hooks:
            # An adapted (or unusual) output layer must run as it is; then at least only the positions that count.
            kept, place = torch.unique(last, return_inverse=True)
            logits = model(**arguments, logits_to_keep=kept).logits
            return logits[torch.arange(len(place)), place][:, ids].float()  # type: ignore[no-any-return]
        rows = {f"{name}.{part}": value[ids] for part, value in head.named_parameters(recurse=False)}
        # The network runs with the label rows of its output layer: softcaps and scales of its own still apply.
        logits = functional_call(model, rows, args=(), kwargs=arguments, tie_weights=False).logits
        return logits[torch.arange(len(last)), last].float()  # type: ignore[no-any-return]


def text_reader(tokenizer: Any) -> Any:
    """Return what reads text: the tokenizer of a processor of images and text, or what was given."""
    return getattr(tokenizer, "tokenizer", tokenizer) if hasattr(tokenizer, "image_processor") else tokenizer


def _choices(row: Row, index: int) -> Sequence[str]:
    choices = row.get("choices")
    if not isinstance(choices, Sequence) or isinstance(choices, str) or len(choices) < 2:
        raise DataError(
            f"row {index}: column 'choices' must be a list of at least two strings, got {choices!r}. label_tokens reads "
            f"{LabelTokens.columns}; this row has {', '.join(map(str, row))}. {remedy(row, 'question', 'choices')}"
        )
    if len(choices) > len(LETTERS):
        raise DataError(f"row {index} has {len(choices)} choices; at most {len(LETTERS)} can be lettered.")
    return choices


def _output_embedding(model: nn.Module) -> tuple[nn.Linear | None, str]:
    """Return the output layer and its name, or None where its rows can't be taken."""
    head = output_embedding(model)
    if head is None:
        raise AttachError(
            f"label_tokens needs a causal language model with an output embedding; {type(model).__name__} has none."
        )
    # Of a weight that is sharded over processes (a DTensor) no rows can be taken.
    if not isinstance(head, nn.Linear) or type(head) is not nn.Linear or is_sharded(head.weight):
        return None, ""
    return head, next(name for name, module in model.named_modules() if module is head)


LIKELIHOOD = LabelTokens
