"""The report: its page in a real browser, its Markdown, pictures and table of numbers."""

import csv
import json
import os
import re
import shutil
import sys

import pytest
from PIL import Image

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.charts import charts
from resnet_alexnet.study.findings import read_findings
from resnet_alexnet.study.metrics import METRICS
from resnet_alexnet.study.page import write_report
from resnet_alexnet.study.report import main
from tests.support.studies import TWO_ARMS, error_of, write_runs, write_study

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
EVIL = "<script>document.title = 'broken'</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study with all runs of three seeds, one of which has a name that would break a page, and its report."""
    folder = tmp_path_factory.mktemp("report")
    body = (
        TWO_ARMS.replace("seeds=2", "seeds=3").replace('"narrow"', f"{EVIL!r}").replace("Two widths", f"Widths {EVIL}")
    )
    write_runs(folder / "runs", write_study(folder / "widths.py", body), error=error_of)
    write_report(read_findings(str(folder / "runs")), folder / "report")
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=[*flags, "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, folder):
    """The page, opened from disk; afterwards nothing was requested and nothing complained."""
    seen: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.append(str(error)))
    address = f"file://{folder / 'report' / 'report.html'}"
    page.goto(address)
    page.wait_for_selector("html[data-drawn]", timeout=120_000)
    yield page
    page.close()
    assert seen == [address]


@needs_browser
@pytest.mark.slow
def test_charts_are_drawn_and_can_be_read_without_seeing_them(page):
    drawn = page.locator(".chart svg")
    assert drawn.count() == int(page.evaluate("document.documentElement.dataset.drawn")) >= 4
    for chart in page.locator(".chart").all():
        assert chart.bounding_box()["height"] > 50
    assert page.locator(".chart [aria-label]").count() > 20  # Vega's, of axes and marks
    assert page.locator("figcaption").count() == drawn.count()
    assert "Is the wider network better?" in page.inner_text("nav")
    assert "Yes, as claimed." in page.inner_text(".answer")


@needs_browser
@pytest.mark.slow
def test_an_arm_is_hidden_and_shown_by_mouse_and_keyboard(page):
    chart = page.locator("#widths_training_curves")
    box = page.locator('[data-chart="widths_training_curves"] input[value="wide"]')

    def names() -> list[str]:
        return [text for text in chart.locator("text").all_text_contents() if text == "wide"]

    assert names() == ["wide"]
    box.click()
    page.wait_for_timeout(200)
    assert names() == []
    box.focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(200)
    assert names() == ["wide"]


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_its_window(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@needs_browser
@pytest.mark.slow
def test_names_from_files_are_text(page):
    assert page.title() != "broken"
    assert EVIL in page.inner_text("h2 >> nth=0")


def test_nothing_can_be_loaded(folder):
    text = (folder / "report" / "report.html").read_text()
    assert "default-src 'none'" in text
    assert EVIL not in text
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text.partition("<script>")[0])


def test_markdown_has_the_answers_and_its_pictures_exist(folder):
    text = (folder / "report" / "REPORT.md").read_text()
    assert "Yes, as claimed." in text
    assert "| wide |" in text
    pictures = re.findall(r"\]\((pictures/[^)]+)\)", text)
    assert len(pictures) == 5
    for picture in pictures:
        with Image.open(folder / "report" / picture) as image:
            assert image.width > 600


def test_the_table_has_every_number_of_every_run(folder):
    with (folder / "report" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 2  # arms, seeds, metrics
    found = {(row["setting"], row["seed"], row["metric"]): row["value"] for row in rows}
    assert found["wide", "2", "test_error"] == "22.2"
    assert {row["status"] for row in rows} == {"finished"}
    assert {row["learning_rate"] for row in rows if row["setting"] == "wide"} == {"0.01"}


def test_a_missing_run_is_told_in_every_form(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    studies = tmp_path / "copy" / "runs" / "studies.json"
    values = json.loads(studies.read_text())
    shutil.rmtree(next((tmp_path / "copy" / "runs" / "runs").glob("*seed=2*")))
    studies.write_text(json.dumps(values))
    write_report(read_findings(str(tmp_path / "copy" / "runs")), tmp_path / "out")
    assert ",missing," in (tmp_path / "out" / "results.csv").read_text()
    assert "indicative" in (tmp_path / "out" / "REPORT.md").read_text()
    assert "<td>missing</td>" in (tmp_path / "out" / "report.html").read_text()


def test_curves_are_the_lines_of_the_runs_and_their_mean(folder):
    (finding,) = read_findings(str(folder / "runs")).studies
    chart = next(each for each in charts(finding) if each.name == "training_curves")
    thin, bold, names = (layer["data"]["values"] for layer in chart.spec["layer"])
    assert {row["seed"] for row in thin} == {1, 2, 3}
    last = [row for row in thin if row["arm"] == "wide" and row["epoch"] == 1.0]
    assert [row["error"] for row in last] == pytest.approx([20.1, 20.2, 20.3])
    assert next(row["error"] for row in bold if row["arm"] == "wide" and row["last"]) == pytest.approx(20.2)
    assert len(names) == 2
    assert names[1]["place"] - names[0]["place"] >= 1  # so that one does not cover the other


def test_what_was_measured_is_drawn_as_the_mean_over_the_runs(folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    layers = [{"index": 1, "std": 0.5, "grad_norm": 2.0}, {"index": None, "std": 9.0, "grad_norm": 9.0}]
    (before,) = read_findings(str(folder / "runs")).studies
    for seed in before.arm("wide").seeds:
        last = {"index": 2, "std": float(seed.seed), "grad_norm": 0.5}
        measured = tmp_path / "runs" / "runs" / seed.folder.name / "measured" / "signals"
        measured.mkdir()
        steps = [{"step": 0, "layers": [*layers, last]}, {"step": 10, "layers": [*layers, last]}]
        (measured / "signals.json").write_text(json.dumps({"steps": steps}))
    (finding,) = read_findings(str(tmp_path / "runs")).studies
    drawn = {chart.name: chart.spec["layer"][0]["data"]["values"] for chart in charts(finding)}
    assert [(row["x"], row["y"]) for row in drawn["signals"]] == [(0.5, 0.5), (1.0, 2.0)]
    assert [(row["x"], row["y"]) for row in drawn["gradients"]] == [(0.5, 2.0), (1.0, 0.5)]
    assert {row["arm"] for row in drawn["signals"]} == {"wide"}
    run = finding.arm("wide").finished[0]
    assert METRICS["mean_response"].read(run) == 0.5  # the classifier behind it does not count
    assert METRICS["log_gradient_ratio"].read(run) == 0.0


def test_without_intervals_no_chart_has_an_empty_layer(tmp_path):
    body = TWO_ARMS.replace("seeds=2", "seeds=1")
    write_runs(tmp_path / "runs", write_study(tmp_path / "widths.py", body), error=error_of)
    (finding,) = read_findings(str(tmp_path / "runs")).studies
    for chart in charts(finding):
        assert all(layer["data"]["values"] for layer in chart.spec["layer"] if "data" in layer), chart.name


def test_the_command_says_what_it_wrote(folder, tmp_path, capsys):
    main([f"--workdirs={folder / 'runs'}", f"--output={tmp_path / 'out'}"])
    assert "report.html" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path / "out")) == ["REPORT.md", "pictures", "report.html", "results.csv"]


def test_an_output_that_cannot_be_written_is_one_line(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        main([f"--workdirs={folder / 'runs'}", f"--output={tmp_path / 'file'}"])


def test_without_the_extra_the_commands_say_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.delitem(sys.modules, "resnet_alexnet.study.page")
    with pytest.raises(InputError, match=r"vl_convert is not installed: pip install 'resnet_alexnet\[study\]'"):
        main([f"--workdirs={folder / 'runs'}", f"--output={tmp_path / 'out'}"])
