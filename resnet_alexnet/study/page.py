"""The report: one HTML file, which loads nothing; REPORT.md with pictures; and a table of all numbers."""

import base64
import csv
import dataclasses
import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError, printable
from resnet_alexnet.files import atomic_write
from resnet_alexnet.study import markdown, specs, tabulate, texts
from resnet_alexnet.study.answers import answer
from resnet_alexnet.study.charts import charts
from resnet_alexnet.study.findings import Findings, StudyFinding
from resnet_alexnet.study.pictures import pictures
from resnet_alexnet.study.recommendation import Recommendation, recommend
from resnet_alexnet.study.specs import Chart

try:
    import jinja2
    import vl_convert
except ImportError as error:
    raise InputError(f"{error.name} is not installed: pip install 'resnet_alexnet[study]'") from None

HTML_FILE, MARKDOWN_FILE, CSV_FILE, PICTURES = "report.html", "REPORT.md", "results.csv", "pictures"
TEMPLATES = Path(__file__).parent / "templates"
_WIDTH, _TITLE_WIDTH = 640, 64  # pixels of a picture, letters of a line of its title
_WIDE, _NARROW = 860, 420  # of a chart in the page, before it is drawn to fit
# Colors of the page by name, so that charts change with it; pictures are for white paper
_PAGE = specs.config("var(--ink)", "var(--soft)", "var(--line)", "system-ui, sans-serif")
_INK = "#1b1f24"
_PAPER = {**specs.config(_INK, "#5b636e", "#dfe3e8", "DejaVu Sans"), "background": "white", "padding": 16}


def write_report(findings: Findings, output: Path) -> list[Path]:
    """Writes report.html, REPORT.md with its pictures, and results.csv to a folder; returns their paths.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        (output / PICTURES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output={output} cannot be written: {error.strerror}") from None
    drawn = {finding.study.name: charts(finding) for finding in findings.studies if finding.is_run}
    for finding in findings.studies:
        for chart in drawn.get(finding.study.name, ()):
            _draw(chart, output / PICTURES / f"{finding.study.name}_{chart.name}")
        for picture in pictures(finding):
            with atomic_write(output / PICTURES / picture.name) as file:
                file.write_bytes(picture.path.read_bytes())
    problems = list(findings.problems)
    found = {each.study.name: recommend(each, problems) for each in findings.studies}
    recommended = {name: each for name, each in found.items() if each is not None}
    findings = dataclasses.replace(findings, problems=problems)
    lines = markdown.lines(findings, drawn, recommended, page=HTML_FILE, folder=PICTURES)
    written = {
        HTML_FILE: _html(findings, drawn, recommended),
        MARKDOWN_FILE: "\n".join(lines) + "\n",
        CSV_FILE: _csv([tabulate.RESULTS_HEADER, *tabulate.results(findings)]),
    }
    for name, text in written.items():
        with atomic_write(output / name) as file:
            file.write_text(text, encoding="utf-8")
    return [output / name for name in written]


def _draw(chart: Chart, path: Path) -> None:
    """Writes a chart as a PNG and an SVG file."""
    spec = _fixed(chart, _WIDTH, _PAPER)
    heading = {"color": _INK, "fontSize": 15, "fontWeight": "bold", "offset": 12}
    spec["title"] = {
        "text": textwrap.wrap(chart.title, _TITLE_WIDTH),
        "subtitle": spec.get("title", {}).get("text", ""),
        **heading,
    }
    with atomic_write(path.with_suffix(".png")) as file:
        file.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
    with atomic_write(path.with_suffix(".svg")) as file:
        file.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")


def _fixed(chart: Chart, width: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """The specification with a width of its own and the looks of where it is shown."""
    return {**chart.spec, "width": width, "config": config, "description": chart.title}


def _html(findings: Findings, drawn: Mapping[str, Sequence[Chart]], recommended: Mapping[str, Recommendation]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    every = {f"{name}_{chart.name}": chart for name, each in drawn.items() for chart in each}
    return environment.get_template("report.html").render(
        title=texts.TITLE,
        lead=texts.lead(findings),
        signs=texts.VERDICTS,
        studies=[
            _study(finding, drawn.get(finding.study.name, ()), findings.scale, recommended.get(finding.study.name))
            for finding in findings.studies
        ],
        problems=[printable(problem) for problem in findings.problems],
        absent=texts.absent(findings) if findings.absent else "",
        method=texts.METHOD,
        environments=list(texts.environments(findings)),
        notice=(TEMPLATES / "vega.txt").read_text(encoding="utf-8"),
        bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script"),
        specs={name: {**chart.spec, "description": chart.title} for name, chart in every.items()},
        config=_PAGE,
    )


def _study(
    finding: StudyFinding, drawn: Sequence[Chart], scale: str, recommendation: Recommendation | None
) -> dict[str, Any]:
    study = finding.study
    shown = [_chart(study.name, chart, _NARROW if number else _WIDE) for number, chart in enumerate(drawn)]
    return {
        "name": study.name,
        "title": study.title,
        "question": study.question,
        "verdict": "" if recommendation else finding.verdicts[0].difference.verdict,
        "answer": recommendation.sentences[0] if recommendation else answer(finding),
        "recommendation": recommendation,
        "notes": texts.notes(finding),
        "chart": shown[0] if shown else None,
        "charts": shown[1:],
        "claims": tabulate.claims(finding, scale),
        "settings": tabulate.settings(finding),
        "pictures": [
            {"title": each.title, "about": each.about, "source": f"data:image/png;base64,{_base64(each.path)}"}
            for each in pictures(finding)
        ],
        "rates": tabulate.rates(finding),
        "runs": tabulate.runs(finding),
        "commands": list(tabulate.commands(finding)),
    }


def _chart(study: str, chart: Chart, width: int) -> dict[str, Any]:
    return {
        "id": f"{study}_{chart.name}",
        "title": chart.title,
        "description": chart.description,
        "arms": chart.arms,
        "zooms": chart.zooms,
        "svg": vl_convert.vegalite_to_svg(_fixed(chart, width, _PAGE)),
    }


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
