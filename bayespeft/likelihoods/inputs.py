"""Data as a network takes it: what a likelihood reads of the rows, and what the network has a place for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from bayespeft.data.columns import IMAGE, QUESTION, Row
from bayespeft.data.examples import Examples
from bayespeft.data.media import MediaExamples, medium_of
from bayespeft.data.padding import Padding
from bayespeft.data.rows import RowExamples
from bayespeft.data.source import Source
from bayespeft.data.takes import FittingExamples, Takes
from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.encoding import encoded
from bayespeft.likelihoods.label_tokens import LabelTokens, text_reader
from bayespeft.likelihoods.named_classes import NamedClasses
from bayespeft.likelihoods.text import TextLikelihood
from bayespeft.networks.configuration import is_encoder_decoder, setting
from bayespeft.networks.embeddings import vocabulary
from bayespeft.networks.forward import inputs_of
from bayespeft.networks.positions import has_table, longest
from bayespeft.networks.tokens import padding_token


def as_examples(source: Source, likelihood: Likelihood, tokenizer: Any, model: nn.Module) -> Examples:
    """Return data as a network takes it.

    Classes that both the data and the network name are numbered as the network numbers them.

    Args:
        source: the data.
        likelihood: says how rows are read and padded.
        tokenizer: for rows of text; for rows with images or sounds, the processor that reads them.
        model: the network.

    Raises:
        DataError: the data can't be read, or holds what the network has no place for.
    """
    if isinstance(likelihood, NamedClasses):
        likelihood.check_numbering(source)
    source = source.numbered_as(likelihood.class_names)
    padding, takes = _padding(likelihood, tokenizer, model), takes_of(model, likelihood)
    rows = source.raw_rows
    check_reader(rows, tokenizer, likelihood)
    if rows is not None and isinstance(likelihood, TextLikelihood) and medium_of(rows[0]) is not None:
        return FittingExamples(MediaExamples(rows, tokenizer, likelihood.label, setting(model, "num_channels")), takes)
    if rows is not None and isinstance(likelihood, LabelTokens) and medium_of(rows[0]) is not None:
        return FittingExamples(likelihood.pictured(rows, tokenizer), takes)
    if rows is None or tokenizer is None:
        return source.examples(padding, takes)
    return FittingExamples(RowExamples(encoded(rows, likelihood, tokenizer), padding), takes)


def check_reader(rows: Sequence[Row] | None, tokenizer: Any, likelihood: Likelihood) -> None:
    """Check that raw rows have what a likelihood reads, and that what was passed as a tokenizer is one where they are text.

    Raises:
        DataError: there are images or sounds for a likelihood of texts, or a processor of images or sounds for texts.
    """
    medium = None if rows is None else medium_of(rows[0])
    asked = rows is not None and medium == IMAGE and QUESTION in rows[0]
    if asked and isinstance(likelihood, LabelTokens):
        if text_reader(tokenizer) is tokenizer:
            given = "nothing was" if tokenizer is None else f"{type(tokenizer).__name__}, which reads one of both, was"
            raise DataError(
                f"the rows have an image and a question, and {given} passed as tokenizer=: pass the network's processor "
                "(AutoProcessor)."
            )
        return
    if asked or (medium is not None and (not isinstance(likelihood, TextLikelihood) or likelihood.axes != 2)):
        raise DataError(
            f"the rows have {medium!r}{' and a question' if asked else ''}, and likelihood '{likelihood.kind}' reads "
            f"{likelihood.columns or 'text'}: images and sounds are classified (sequence_classification, multi_label) or "
            "measured (regression), and questions with choices about an image are answered by a network that reads both "
            "(label_tokens)."
        )
    if rows is not None and medium is None and tokenizer is not None and not hasattr(tokenizer, "pad_token_id"):
        raise DataError(
            f"the rows have {', '.join(map(str, rows[0]))}, and {type(tokenizer).__name__}, passed as tokenizer=, reads images "
            "or sounds: pass a tokenizer (AutoTokenizer), or rows with 'image' or 'audio'."
        )


def takes_of(model: nn.Module, likelihood: Likelihood) -> Takes:
    """Return what is known of a network's inputs."""
    types = setting(model, "type_vocab_size")
    # Decoders behind an encoder classify by the state at the last end token, and refuse rows that hold unequally many.
    pooled = is_encoder_decoder(model) and likelihood.trains_head and not likelihood.token_labels
    return Takes(
        network=type(model).__name__,
        names=inputs_of(model),
        dtype=next((p.dtype for p in model.parameters() if p.is_floating_point()), None),
        vocabulary=vocabulary(model),
        positions=longest(model) if has_table(model) else None,
        token_types=types if isinstance(types, int) and types > 0 else None,
        end=setting(model, "eos_token_id") if pooled else None,
        others=frozenset(likelihood.reads),
    )


def _padding(likelihood: Likelihood, tokenizer: Any, model: nn.Module) -> Padding:
    """Return how rows of tokens are brought to one length: likelihood, tokenizer and network say it, in this order."""
    side: Any = likelihood.pads or likelihood.padding_side or getattr(tokenizer, "padding_side", "right")
    return Padding(padding_token(model, tokenizer), side, likelihood.token_labels)
