"""The page of a report: needs nothing else, escapes what the data contain, shows what there is and nothing more."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bayespeft.errors import ConfigError
from bayespeft.predictive.categorical import Predictive, entropy
from bayespeft.report import CalibrationReport, RegressionReport
from bayespeft.report.base import Report
from bayespeft.report.context import Setup, Training
from bayespeft.report.language import LanguageReport
from bayespeft.report.ood import separate
from bayespeft.report.over_draws import of_prediction
from bayespeft.report.quotes import LONGEST, quotes
from bayespeft.report.view.svg import Chart, ticks

EVIL = """<script>alert('x')</script><img src=x onerror="alert(1)"> & "quotes" {{ 7 * 7 }} </svg></title>"""
VOID = {"meta", "br", "img", "link", "hr", "input"}
DRAWN = ("accuracy", "nll", "brier", "ece")
SECTIONS = {
    "ood": "Does it notice other data?",
    "quotes": "The most confident mistakes",
    "over_draws": "What draws do",
    "training": "Training",
    "setup": "Configuration",
}


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
    return {
        "ood": separate(prediction, {EVIL: predictive(50, 1, scale=0.3)}),
        "over_draws": of_prediction(prediction, 1),
        "quotes": quotes(prediction, 3, lambda row: f"{text} {row}", lambda row, number: f'class "{number}" <b>'),
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


@pytest.fixture(scope="module")
def prediction() -> Predictive:
    return predictive(300)


@pytest.fixture(scope="module")
def full(prediction: Predictive) -> CalibrationReport:
    return calibration(prediction, **parts(prediction))


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


# The page


def test_the_page_is_whole_and_needs_nothing_else(full: CalibrationReport, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    page = full.to_html(path)
    assert path.read_text(encoding="utf-8") == page
    reader = check_alone(page)
    assert page.startswith("<!doctype html>")
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert 'name="viewport"' in page
    assert reader.tags.count("h1") == 1


def test_the_headline_comes_first_in_words(full: CalibrationReport) -> None:
    text = " ".join(Reader(full.to_html()).text.split())
    verdict = str(full.verdict)[0].upper() + str(full.verdict)[1:]
    sentence = full.refusing[0].upper() + full.refusing[1:]
    trust = text.index("Can it be trusted?")
    assert full.verdict.reason in text
    said = [f"{verdict} {full.verdict.reason} It claims", "a skill of 0 %", f"{sentence}."]
    places = [text.find(part) for part in said]
    assert 0 <= places[0] < places[1] < places[2] < trust
    for metric in (full.accuracy, full.ece):
        assert f"[{100 * metric.low:.1f}, {100 * metric.high:.1f}]" in text


@pytest.mark.parametrize("make", [lambda: regression(setup=SETUP), lambda: language(setup=SETUP)])
def test_other_reports_have_pages_too(make: Any) -> None:
    report: Report = make()
    reader = check_alone(report.to_html())
    assert "Configuration" in reader.headings
    assert ("svg" in reader.tags) == isinstance(report, RegressionReport)
    assert EVIL in reader.text
    check_alone(report._repr_html_())
    assert type(report).from_dict(json.loads(report.to_json())) == report


def test_every_figure_has_its_error_over_draws(full: CalibrationReport) -> None:
    (table,) = next(s.tables for s in full.view.page(full).sections if s.title == "All figures")
    assert table.header[-1] == "± over draws"
    assert full.over_draws is not None
    assert full.over_draws.errors is not None
    # Labels alone make the others.
    bare = [title for title, _, cells in table.rows if not cells[-1]]
    assert bare == ["Accuracy of the trivial answer", "NLL of the base rates", "Brier: uncertainty"]
    assert len(table.rows) - len(bare) == len(full.over_draws.errors)


def test_what_data_contain_stays_text(full: CalibrationReport) -> None:
    page = full.to_html()
    reader = check_alone(page)
    assert escape(EVIL, quote=False) in page.replace("&#39;", "'").replace("&#34;", '"')
    assert EVIL in reader.text
    assert 'class "0" <b>' in reader.text or 'class "1" <b>' in reader.text
    for quote in full.quotes.mistakes if full.quotes else ():
        assert quote.text is not None
        assert quote.text in reader.text


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_is_there_where_its_part_is(full: CalibrationReport, name: str) -> None:
    empty = () if name == "ood" else None
    headings, without = (Reader(r.to_html()).headings for r in (full, replace(full, **{name: empty})))
    assert SECTIONS[name] in headings
    assert SECTIONS[name] not in without
    assert len(without) < len(headings)


def test_extremes_have_pages() -> None:
    with np.errstate(divide="ignore"):
        perfect = np.log(np.eye(3))
    one_class, unsure = np.zeros((5, 1)), np.log([[0.7, 0.3]])
    for log_probs, labels in ((one_class, [0] * 5), (perfect, [0, 1, 2]), (perfect, [1, 2, 0]), (unsure, [1])):
        report = CalibrationReport.from_log_probs(log_probs, labels, resamples=10)
        page = report.to_html()
        check_alone(page)
        assert not re.search(r'="[^"]*\b(nan|inf)\b', page)
        assert "None" not in page


def test_a_page_of_many_examples_is_small() -> None:
    prediction = predictive(100_000, classes=3, draws=1)
    chosen = quotes(prediction, 10, lambda row: "long " * 10_000, lambda row, number: "name " * 1000)
    assert prediction.labels is not None
    report = CalibrationReport.from_log_probs(
        prediction.log_probs.numpy(), prediction.labels.numpy(), resamples=2, quotes=chosen, training=TRAINING
    )
    assert len(report.to_html().encode()) < 200_000
    assert len(report.to_json().encode()) < 200_000


def test_a_notebook_shows_headline_and_pictures(full: CalibrationReport) -> None:
    card = full._repr_html_()
    reader = check_alone(card)
    assert "html" not in reader.tags
    assert "body" not in reader.tags
    assert reader.tags.count("svg") == 3
    assert "alert" not in reader.text.replace(EVIL, "")
    # Its style touches nothing else in the notebook.
    style = card[card.index("<style>") : card.index("</style>")]
    selectors = re.findall(r"(?:^|\})\s*([^{}@]+)\{", style.removeprefix("<style>"), flags=re.M)
    assert selectors
    assert all(part.strip().startswith(".bp") for one in selectors for part in one.split(","))


def test_no_line_ends_before_a_percent_sign_of_ours(full: CalibrationReport) -> None:
    text = Reader(full.to_html()).text
    assert f"right in {100 * full.accuracy.value:.1f}\N{NO-BREAK SPACE}%" in text
    for words in (full.verdict.reason, full.refusing[1:]):
        assert words.replace(" %", "\N{NO-BREAK SPACE}%") in text


def test_what_was_taken_for_itself_stands_out(full: CalibrationReport) -> None:
    assert full.by_class is not None
    own = re.findall(r'<td class="own">([\d,]+)</td>', full.to_html())
    assert own == [f"{row[k]:,}" for k, row in enumerate(full.by_class.confusion)]


def test_bars_do_not_hide_where_the_band_ends() -> None:
    report = regression()
    svg = str(report.view.page(report).pictures["pit"][1].svg)
    assert svg.rindex("<rect") < svg.index('class="line edge"')
    assert svg.index('class="band"') < svg.index("<rect")
    assert svg.count('class="line edge"') == 2


# Rows


def test_quotes_are_the_most_confident_mistakes_and_the_least_certain_rows() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.7, 0.3], [0.99, 0.01]], dtype=torch.float64)
    prediction = Predictive(
        labels=torch.tensor([1, 1, 0, 1, 0]), draws=1, forward_passes=1, seconds=0.0, log_probs=probs.log(),
        expected_entropy=torch.zeros(5),
    )  # fmt: skip
    found = quotes(prediction, 2, lambda row: None, lambda row, number: f"{row}:{number}")
    assert [q.index for q in found.mistakes] == [0, 3]
    assert [q.index for q in found.uncertain] == [2, 3]
    first = found.mistakes[0]
    assert (first.text, first.label, first.predicted, first.mutual_information) == (None, "0:1", "0:0", None)
    assert (first.probability, first.label_probability) == pytest.approx((0.9, 0.1))
    assert first.entropy == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))
    assert len(quotes(prediction, 100, lambda row: None, lambda row, number: "").mistakes) == 2
    with pytest.raises(ConfigError, match="quotes=-1"):
        quotes(prediction, -1, lambda row: None, lambda row, number: "")


def test_quoted_texts_are_cut_and_can_be_written(prediction: Predictive, tmp_path: Path) -> None:
    odd = "a\x00b\x1b[31m\ud800\r\nc" + "x" * 10_000
    report = calibration(prediction, quotes=quotes(prediction, 1, lambda row: odd, lambda row, number: odd))
    assert report.quotes is not None
    text = report.quotes.uncertain[0].text
    assert text is not None
    assert len(text) <= LONGEST
    assert text.startswith("a\ufffdb\ufffd[31m\ufffd\nc")
    assert text.endswith("…")
    report.to_html(tmp_path / "r.html")
    assert CalibrationReport.from_json(report.to_json(tmp_path / "r.json")) == report


# Other forms


def test_json_there_and_back_with_everything(full: CalibrationReport) -> None:
    assert CalibrationReport.from_json(full.to_json()) == full
    assert CalibrationReport.from_dict(full.to_dict()).to_html() == full.to_html()


def test_csv_has_every_number_and_no_text(full: CalibrationReport, tmp_path: Path) -> None:
    text = full.to_csv(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text(encoding="utf-8") == text
    rows = {row["figure"]: row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == text.count("\n") - 1
    for name, metric in (
        ("nll", full.nll),
        ("aurc", full.metric("aurc")),
        (f"ood.{full.ood[0].data}.{full.ood[0].score}.auroc", full.ood[0].auroc),
    ):
        assert [float(rows[name][key]) for key in ("value", "low", "high")] == [metric.value, metric.low, metric.high]
    assert float(rows["bins.14.count"]["value"]) == full.bins[14].count
    assert not any("script" in line for line in text.splitlines() if "ood." not in line)  # which its data names
    assert not any(name.startswith(("quotes", "setup", "name")) for name in rows)


def test_pictures_by_name_of_the_form(full: CalibrationReport, tmp_path: Path) -> None:
    full.to_png(tmp_path / "a")
    full.to_svg(tmp_path / "b")
    regression().to_png(tmp_path / "c.png")
    assert (tmp_path / "a").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "b").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_each_figure_of_a_page_is_a_file(full: CalibrationReport, tmp_path: Path) -> None:
    names = ("reliability", "confidence", "risk_coverage", f"ood.{EVIL}", *(f"draws.{name}" for name in DRAWN))
    assert full.figures == (*names, "training.nll", "training.kl")
    assert regression().figures == ("pit", "quantiles")
    for report in (full, regression()):
        for name in report.figures:
            report.to_svg(tmp_path / "figure", name)
            text = (tmp_path / "figure").read_text(encoding="utf-8")
            root = xml.etree.ElementTree.fromstring(text)
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            said = "".join("".join(root.itertext()).split())
            title, picture = report.view.page(report).pictures[name]
            for words in (title, *picture.key.values()):
                assert "".join(words.split()) in said
            # The chart itself is that of the page, and every colour is known without the page.
            assert picture.svg in text
            assert "var(" not in text
            check_alone(text.replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def test_a_figure_that_is_not_there_is_an_error(full: CalibrationReport, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no figure 'roc', but reliability, confidence, risk_coverage"):
        full.to_svg(tmp_path / "a.svg", "roc")
    with pytest.raises(ConfigError, match="no figure 'plot', but none"):
        language().to_svg(tmp_path / "a.svg", "plot")
    assert not list(tmp_path.iterdir())


# Charts


def test_charts_put_numbers_where_they_belong() -> None:
    chart = Chart((0, 10), (-1, 1), x_label=EVIL, y_label="y", description=EVIL)
    assert chart.at_x(0) < chart.at_x(5) == (chart.at_x(0) + chart.at_x(10)) / 2
    assert chart.at_y(1) < chart.at_y(-1)
    chart.line([(0, 0.0), (1, None), (2, float("nan")), (3, 1.0), (4, 0.0)], "a")
    path = re.findall(r'class="line a" d="([^"]*)"', chart.svg())[0]
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert Reader(chart.svg()).tags[0] == "svg"


@pytest.mark.parametrize("span", [(0, 1), (0, 0.003), (-5, 17), (0, 123_456), (2.4e9, 2.5e9), (0.98, 1.02)])
def test_ticks_are_few_distinct_and_within(span: tuple[float, float]) -> None:
    found = ticks(span)
    assert 2 <= len(found) <= 7
    assert all(span[0] - 1e-9 <= value <= span[1] * (1 + 1e-9) for value in found)
    assert len(set(found.values())) == len(found)


# In a browser


@pytest.fixture(scope="module")
def browser() -> str:
    """Chromium, by the variable CHROMIUM or on the path."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome", "chrome"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium: put it on the path, or name it in the variable CHROMIUM")
    return found


# What a notebook says of tables, as heavily as it does.
NOTEBOOK = """<!doctype html><style>
.jp-RenderedHTMLCommon table {{ color: rgb(1, 2, 3); }}
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th {{ white-space: normal; padding: 9em; }}
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon td {{ text-align: right; }}
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon th {{ text-align: right; }}
.jp-RenderedHTMLCommon tbody tr:nth-child(odd) {{ background: rgb(1, 2, 3); }}
</style><body><div class="jp-RenderedHTMLCommon">{card}</div><script>
onload = () => {{
  const look = e => getComputedStyle(e);
  const cells = [...document.querySelectorAll(".bp th, .bp td")], rows = [...document.querySelectorAll(".bp tbody tr")];
  const wrong = cells.filter(e =>
    look(e).textAlign != "left" || look(e).color == "rgb(1, 2, 3)" || parseFloat(look(e).paddingTop) > 20);
  const striped = rows.filter(e => look(e).backgroundColor != "rgba(0, 0, 0, 0)");
  document.title = cells.length + " cells, wrong " + wrong.length + " striped " + striped.length;
}}
</script>"""

PROBE = """<!doctype html><body><iframe src="report.html" style="border:0;width:{width}px;height:900px"></iframe><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const all = [...page.querySelectorAll("body *")].filter(e => !e.closest("svg, .scroll"));
  const out = all.filter(e => e.getBoundingClientRect().right > {width} + 1);
  document.title = "overflow " + Math.max(0, root.scrollWidth - root.clientWidth) + " outside " + out.length;
}}
</script>"""


def browse(browser: str, page: Path, home: Path) -> tuple[str, str]:
    """Return the page as a browser made it, and what it logged."""
    options = "--headless --no-sandbox --disable-gpu --no-zygote --disable-dev-shm-usage --allow-file-access-from-files"
    profile = f"--user-data-dir={home / 'profile'}"
    command = [browser, *options.split(), profile, "--enable-logging=stderr", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


@pytest.mark.browser
def test_a_notebooks_own_rules_for_tables_do_not_win(full: CalibrationReport, browser: str, tmp_path: Path) -> None:
    page = tmp_path / "notebook.html"
    page.write_text(NOTEBOOK.format(card=full._repr_html_()), encoding="utf-8")
    shown, _ = browse(browser, page, tmp_path)
    found = re.search(r"<title>(\d+) cells, wrong (\d+) striped (\d+)", shown)
    assert found is not None
    cells, wrong, striped = map(int, found.groups())
    assert cells > 4
    assert wrong == striped == 0


@pytest.mark.browser
@pytest.mark.parametrize("width", [375, 1200])
def test_a_browser_shows_it_without_overflow_or_complaint(
    full: CalibrationReport, browser: str, width: int, tmp_path: Path
) -> None:
    full.to_html(tmp_path / "report.html")
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(width=width), encoding="utf-8")
    shown, complaints = browse(browser, probe, tmp_path)
    assert "<title>overflow 0 outside 0</title>" in shown
    assert "CONSOLE" not in complaints
