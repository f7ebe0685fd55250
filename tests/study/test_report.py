"""The report: its page in a real browser, its Markdown, pictures and table of numbers."""

import csv
import json
import os
import re
import shutil
import sys
from xml.etree import ElementTree

import pytest
from PIL import Image

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.charts import charts
from resnet_alexnet.study.dots import _scatter
from resnet_alexnet.study.findings import read_findings
from resnet_alexnet.study.metrics import COSTS
from resnet_alexnet.study.page import write_report
from resnet_alexnet.study.report import main
from resnet_alexnet.study.specs import lines, styles
from tests.support.studies import TWO_ARMS, error_of, write_runs, write_study

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
EVIL = "<script>document.title = 'broken'</script>"
STUDY = TWO_ARMS.replace("seeds=2", "seeds=3, measurements=['signals']")
CHARTS = ["arms", "training_curves", "validation_curves", "differences", "costs"]  # for which it has data, in order


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study with all runs of three seeds and its report; the name of an arm would break a page."""
    folder = tmp_path_factory.mktemp("report")
    body = STUDY.replace('"narrow"', f"{EVIL!r}").replace("Two widths", f"Widths {EVIL}")
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
    drawn = page.locator(".chart[data-drawn]")
    for number, chart in enumerate(page.locator(".chart").all(), start=1):
        chart.scroll_into_view_if_needed()
        drawn.nth(number - 1).wait_for(timeout=120_000)
    yield page
    page.close()
    assert seen == [address]


@needs_browser
@pytest.mark.slow
def test_charts_are_drawn_and_can_be_read_without_seeing_them(page):
    places = page.locator(".chart").all()
    assert [place.get_attribute("id") for place in places] == [f"widths_{name}" for name in CHARTS]
    for place in places:
        assert place.locator("svg").count() == 1
        assert place.bounding_box()["height"] > 50
        about = page.locator(f"#{place.get_attribute('aria-describedby')}").inner_text()
        assert re.search(r"wide.* 2\d\.\d|10\.0, reproduced", about)  # its numbers
    assert page.locator(".chart [aria-label]").count() > 20  # Vega's, of axes and marks
    assert "Is the wider network better?" in page.inner_text("nav")
    assert page.inner_text(".answer").startswith("As claimed, ")


def texts(page, chart: str) -> list[str]:
    return page.locator(f"#widths_{chart} text").all_text_contents()


def wait_for(page, condition) -> None:
    """Waits until a condition on the page holds: Vega draws a little after its signals are set."""
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("the page did not change")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("chart", ["training_curves", "arms"])
def test_an_arm_is_hidden_and_shown_by_mouse_and_keyboard(page, chart):
    box = page.locator(f'[data-chart="widths_{chart}"] input[value="wide"]')
    assert texts(page, chart).count("wide") == 1
    box.click()
    wait_for(page, lambda: "wide" not in texts(page, chart))
    box.focus()
    page.keyboard.press("Space")
    wait_for(page, lambda: "wide" in texts(page, chart))


@needs_browser
@pytest.mark.slow
def test_the_end_of_training_is_shown_alone_by_keyboard(page):
    def starts() -> list[float]:
        axis = page.locator("#widths_training_curves .role-axis-label").first.locator("text")
        return [float(text) for text in axis.all_text_contents()]

    assert min(starts()) == 0.0
    page.locator('[data-chart="widths_training_curves"] select').focus()
    page.keyboard.press("ArrowDown")
    wait_for(page, lambda: min(starts()) == 0.5)
    assert texts(page, "training_curves").count("wide") == 1


@needs_browser
@pytest.mark.slow
def test_hovering_shows_a_value(page):
    page.locator("#widths_training_curves").scroll_into_view_if_needed()
    points = page.locator("#widths_training_curves .mark-symbol path")
    box = points.last.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator("#vg-tooltip-element.visible").wait_for(timeout=60_000)
    assert "training error, %" in page.inner_text("#vg-tooltip-element")


@needs_browser
@pytest.mark.slow
def test_dark_and_printed_pages_have_colors_of_their_own(page):
    def color() -> str:
        label = page.locator("#widths_training_curves text").filter(has_text="wide")
        return label.evaluate("element => getComputedStyle(element).fill")

    colors = {}
    for name, looks in {"light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"}}.items():
        page.emulate_media(**looks)
        colors[name] = color()
    page.emulate_media(media="print")
    assert colors["light"] != colors["dark"]
    assert color() == colors["light"]  # on paper, although the screen is dark
    assert not page.locator(".controls select").first.is_visible()


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
    assert EVIL in page.inner_text(".kicker")
    shown = [text.removesuffix("…") for text in texts(page, "training_curves")]  # a long name is cut at its end
    assert any(EVIL.startswith(text) and len(text) > 10 for text in shown)
    assert page.locator(f'input[value="{EVIL}"]').count() >= 2


def test_nothing_can_be_loaded(folder):
    text = (folder / "report" / "report.html").read_text()
    assert "default-src 'none'" in text
    assert EVIL not in text
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text.partition("<script>")[0])


def test_markdown_has_the_answers_and_its_pictures_exist(folder):
    text = (folder / "report" / "REPORT.md").read_text()
    assert "**As claimed, " in text
    assert "| wide |" in text
    assert "<script" not in text.replace("\\<", "")
    pictures = re.findall(r"\]\((pictures/[^)]+)\)", text)
    assert pictures == [f"pictures/widths_{name}.png" for name in CHARTS]
    for picture in pictures:
        with Image.open(folder / "report" / picture) as image:
            assert image.width > 600
        assert ElementTree.parse((folder / "report" / picture).with_suffix(".svg")).getroot().tag.endswith("svg")


def rows_of(folder) -> dict[tuple[str, str, str], dict[str, str]]:
    """The rows of results.csv by setting, seed and metric."""
    with (folder / "results.csv").open() as file:
        return {(row["setting"], row["seed"], row["metric"]): row for row in csv.DictReader(file)}


def test_the_table_has_every_number_of_every_run(folder):
    rows = rows_of(folder / "report")
    assert {metric for _, _, metric in rows} == {
        *("test_error", "train_error", "mean_train_error", "epochs_to_25", "seconds_to_25"),
        *COSTS,
    }
    assert rows["wide", "2", "test_error"]["value"] == "22.2"
    assert rows["wide", "1", "training_seconds"]["value"] == "0.8"  # 10 steps of 16 images
    assert ("wide", "2", "images_per_second") not in rows  # it is measured once
    assert {row["status"] for row in rows.values()} == {"finished"}
    assert {row["learning_rate"] for row in rows.values() if row["setting"] == "wide"} == {"0.01"}


def test_runs_that_are_missing_or_failed_are_told_in_every_form(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (finding,) = read_findings(str(folder / "runs")).studies
    first, second, third = (tmp_path / "copy" / "runs" / "runs" / s.folder.name for s in finding.arm("wide").seeds)
    shutil.rmtree(first)
    metrics = second / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"finished"', '"diverged"'))
    (third / "measured" / "test" / "report.json").write_text("{")
    write_report(read_findings(str(tmp_path / "copy" / "runs")), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [rows["wide", seed, "test_error"]["status"] for seed in "123"] == ["missing", "diverged", "finished"]
    assert [rows["wide", seed, "test_error"]["value"] for seed in "123"] == ["", "", "22.3"]
    page, text = (tmp_path / "out" / "report.html").read_text(), (tmp_path / "out" / "REPORT.md").read_text()
    for told in ("1 of 3", "seed 1 missing, seed 2 diverged", "Too few runs for a verdict", "report.json is not JSON"):
        assert told in page
        assert told in text.replace("\\", "")


def test_a_change_in_a_run_folder_changes_the_report(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    for metrics in (tmp_path / "copy" / "runs" / "runs").glob("*/metrics.jsonl"):
        metrics.write_text(metrics.read_text().replace('"test/top1_error": 22.2', '"test/top1_error": 25.2'))
    write_report(read_findings(str(tmp_path / "copy" / "runs")), tmp_path / "out")
    before, after = folder / "report", tmp_path / "out"
    assert rows_of(after)["wide", "2", "test_error"]["value"] == "25.2"
    for file, was, now in (("report.html", ">22.2<", ">23.2<"), ("REPORT.md", "| 22.2 (", "| 23.2 (")):
        assert was in (before / file).read_text()
        assert was not in (after / file).read_text()
        assert now in (after / file).read_text()
    name = "pictures/widths_arms.png"
    assert (before / name).read_bytes() != (after / name).read_bytes()


def test_pictures_that_were_measured_are_shown(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    study = tmp_path / "copy" / "widths.py"
    study.write_text(study.read_text().replace("'signals'", "'kernels'"))
    studies = tmp_path / "copy" / "runs" / "studies.json"
    studies.write_text(json.dumps({"scale": "cpu", "studies": [str(study)], "overrides": []}))
    (finding,) = read_findings(str(tmp_path / "copy" / "runs")).studies
    measured = finding.arm("wide").seeds[0].folder / "measured" / "kernels"
    measured.mkdir()
    Image.new("RGB", (9, 7)).save(measured / "kernels.png")
    write_report(read_findings(str(tmp_path / "copy" / "runs")), tmp_path / "out")
    assert "Kernels of the first layer: wide" in (tmp_path / "out" / "report.html").read_text()
    (name,) = re.findall(r"pictures/widths_kernels_\d.png", (tmp_path / "out" / "REPORT.md").read_text())
    assert (tmp_path / "out" / name).read_bytes() == (measured / "kernels.png").read_bytes()


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


def test_a_report_can_be_made_again_from_its_records(folder, tmp_path, capsys):
    records, words = tmp_path / "records", f"--workdirs={folder / 'runs'}"
    run = next((folder / "runs" / "runs").glob("*seed=1*"))
    (run / "log.txt").write_text("not a record")
    for _ in range(2):  # the second time over the first
        main([words, f"--output={tmp_path / 'first'}", f"--records={records}"])
    assert f"files to {records}" in capsys.readouterr().out
    main([f"--workdirs={records}", f"--output={tmp_path / 'again'}"])
    for name in ("REPORT.md", "results.csv", "report.html", "pictures/widths_arms.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    kept = {path.name for path in records.rglob("*") if path.is_file()}
    assert kept == {"studies.json", "config.json", "environment.json", "metrics.jsonl", "report.json", "cost.json"}


def test_runs_are_not_lost_for_records(folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "other")
    checkpoint = next((tmp_path / "other" / "runs").glob("*")) / "checkpoints" / "10"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    with pytest.raises(InputError, match=r"has runs, not records: .* would be lost"):
        main([f"--workdirs={folder / 'runs'}", f"--output={tmp_path / 'out'}", f"--records={tmp_path / 'other'}"])
    assert checkpoint.exists()


@pytest.mark.parametrize(
    ("workdirs", "records", "message"),
    [
        ("{folder}/runs/runs/*", "{tmp}/records", "is not a folder of studies: it has no studies.json"),
        ("{folder}/runs", "{folder}/runs", "is the folder of the studies itself"),
        ("{folder}/runs", "{tmp}", "holds something else .allowed: a new folder, or records from before"),
    ],
)
def test_records_are_copied_only_where_they_may_be(folder, tmp_path, workdirs, records, message):
    (tmp_path / "mine.txt").touch()
    words = [f"--workdirs={workdirs}", f"--output={tmp_path / 'out'}", f"--records={records}"]
    with pytest.raises(InputError, match=message):
        main([word.format(folder=folder, tmp=tmp_path) for word in words])
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize(("low", "high"), [(0.55, 0.93), (0.3, 40.0)])
def test_a_logarithmic_axis_always_has_numbers(low, high):
    rows = [{"arm": "a", "seed": 1, "x": x, "y": y} for x, y in ((0, low), (1, high))]
    spec = lines(rows, styles(["a"]), x="step", y="ratio", log=True)
    axis = spec["layer"][0]["encoding"]["y"]["axis"]
    assert len(axis.get("values", [1, 2])) > 1


def test_an_error_of_none_is_drawn(tmp_path):
    write_runs(
        tmp_path / "runs", write_study(tmp_path / "widths.py", TWO_ARMS), error=lambda config: -2.0
    )  # 0 % in tests
    (finding,) = read_findings(str(tmp_path / "runs")).studies
    chart = _scatter(finding, "x", "Title", "About.", "test_error", "train_error")
    assert chart.spec["layer"][0]["data"]["values"][0]["x"] == 0.0


@pytest.mark.parametrize(
    ("claims", "wide", "shown"), [("()", 20, True), ("()", 40, False), ("(0,)", 40, False), ("(1,)", 20, True)]
)
def test_the_headline_stands_over_the_curves_if_its_claims_hold(tmp_path, claims, wide, shown):
    body = TWO_ARMS.replace("seeds=2", f"seeds=1, headline='Wide is better', headline_claims={claims}")
    study = write_study(tmp_path / "widths.py", body)
    write_runs(tmp_path / "runs", study, error=lambda config: 30.0 if config.model.width == 4 else float(wide))
    (finding,) = read_findings(str(tmp_path / "runs")).studies
    title = next(chart.title for chart in charts(finding) if chart.name == "training_curves")
    assert title == ("Wide is better: training" if shown else "Training") + " error while the networks learn"
