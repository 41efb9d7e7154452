"""Reports with all their parts, whose names and texts are made to break a page, and a reader that notices."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import torch

from bayespeft.predictive.categorical import Predictive, entropy
from bayespeft.report import CalibrationReport, RegressionReport
from bayespeft.report.context import Setup, Training
from bayespeft.report.language import LanguageReport
from bayespeft.report.ood import separate
from bayespeft.report.over_draws import of_prediction
from bayespeft.report.quotes import quoted

EVIL = """<script>alert('x')</script><img src=x onerror="alert(1)"> & "quotes" {{ 7 * 7 }} </svg></title>"""


VOID = {"meta", "br", "img", "link", "hr", "input"}


def predictive(n: int, seed: int = 0, *, classes: int = 4, draws: int = 4, scale: float = 1.5) -> Predictive:
    """Over-confident predictions of labels that were drawn."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    noise = torch.randn(draws, n, classes, generator=generator, dtype=torch.float64)
    logs = torch.log_softmax(2 * logits + noise, -1)
    return Predictive(
        labels=labels,
        draws=draws,
        forward_passes=draws,
        seconds=1.0,
        log_probs=torch.logsumexp(logs, 0) - math.log(draws),
        expected_entropy=entropy(logs).mean(0),
        draw_log_probs=logs.float(),
        nll_error=0.01,
    )


TRAINING = Training((10, 20, 30), {"objective": (2.0, 1.5, 1.2), "nll": (1.9, 1.2, 1.0), "kl": (0.0, 5.0, 7.0)}, 12.5)


SETUP = Setup({"method": {"name": EVIL, "lr": 0.1, "none": None, "list": [1, 2]}}, {"torch": "2.13"})


def parts(prediction: Predictive, text: str = EVIL) -> dict[str, Any]:
    rows = [{"text": f"{text} {row}"} for row in range(len(prediction.log_probs))]
    return {
        "ood": separate(prediction, {EVIL: predictive(50, 1, scale=0.3)}),
        "over_draws": of_prediction(prediction, 1),
        "quotes": quoted(prediction, rows, [f'class "{number}" <b>' for number in range(9)], 3),
        "training": TRAINING,
        "setup": SETUP,
        "mutual_information": float(prediction.mutual_information.mean()),
        "draws": prediction.draws,
    }


def calibration(prediction: Predictive, **facts: Any) -> CalibrationReport:
    assert prediction.labels is not None
    return CalibrationReport.from_log_probs(
        prediction.log_probs.numpy(), prediction.labels.numpy(), resamples=20, name=EVIL, method="Me-LoRA", **facts
    )


def regression(**facts: Any) -> RegressionReport:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(80, 1))
    return RegressionReport.from_mixture(
        0.1 * rng.normal(size=(3, 80, 1)), np.full((1, 80, 1), 0.5), targets, resamples=20, name=EVIL, **facts
    )


def language(**facts: Any) -> LanguageReport:
    return LanguageReport.from_log_likelihood([-3.0, -5.0], [2, 3], resamples=20, name=EVIL, **facts)


class Reader(HTMLParser):
    """Tags must close in order; collects what pages must not have, headings and texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.headings: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings[-1] += data


def check_alone(page: str) -> Reader:
    """A page that needs no network, runs nothing, and whose tags close."""
    reader = Reader(page)
    assert not {"script", "img", "link", "iframe", "object", "base"} & set(reader.tags)
    assert not {"src", "href", "onerror", "onload", "srcset"} & reader.attributes
    assert not re.search(r"https?:|//\w|@import|url\(|javascript:", page)
    return reader
