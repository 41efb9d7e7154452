"""The page of a report: needs nothing else, escapes what the data contain, shows what there is and nothing more."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import numpy as np
import pytest

from bayespeft.report import CalibrationReport
from bayespeft.report.quotes import quoted
from tests.report.view.evil import (
    EVIL,
    TRAINING,
    Reader,
    check_alone,
    predictive,
)

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


def test_what_data_contain_stays_text(full: CalibrationReport) -> None:
    page = full.to_html()
    reader = check_alone(page)
    assert escape(EVIL, quote=False) in page.replace("&#39;", "'").replace("&#34;", '"')
    assert EVIL in reader.text
    assert 'class "0" <b>' in reader.text or 'class "1" <b>' in reader.text
    for quote in full.quotes.mistakes if full.quotes else ():
        assert quote.text is not None
        assert quote.text in reader.text


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
    chosen = quoted(prediction, [{"text": "long " * 10_000}] * 100_000, ["name " * 1000] * 3, 10)
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
