"""The report as one HTML file, which loads nothing, and as REPORT.md with pictures and a table of all numbers."""

import base64
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError, printable
from resnet_alexnet.files import atomic_write
from resnet_alexnet.study import tabulate
from resnet_alexnet.study.answers import answer
from resnet_alexnet.study.charts import Chart, charts
from resnet_alexnet.study.design import SCALES
from resnet_alexnet.study.findings import Findings, StudyFinding
from resnet_alexnet.study.measurements import FOLDER
from resnet_alexnet.study.tabulate import Table

try:
    import jinja2
    import vl_convert
except ImportError as error:
    raise InputError(f"{error.name} is not installed: pip install 'resnet_alexnet[study]'") from None

HTML_FILE, MARKDOWN_FILE, CSV_FILE = "report.html", "REPORT.md", "results.csv"
TITLE = "AlexNet and ResNet: what the papers claim, and what these runs say"
METHOD = (
    "Every comparison, its metric and its margin were fixed in the file of the study before any run. All settings of "
    "a study had equally many learning rates to choose from, by validation error, in runs with a seed of their own; "
    "only the runs that count were tested, once, at their end.",
    "A verdict follows from Welch's 95 % interval for the difference of the two means. Reproduced: the interval "
    "excludes zero, with the sign of the claim. Differs: it excludes zero with the other sign, or the two are equal "
    "within the margin by two one-sided tests. Within noise: neither. Indicative: fewer than three seeds. If the "
    "paper's own difference is below the margin, equality is the claim. Holm's p is over the primary comparisons of "
    "all studies.",
    "Intervals are over seeds: they do not contain the sampling error of the test images, which all runs share. A "
    "paper's value is of its own data and scale, and is shown, not compared, beside values of another scale.",
)
TEMPLATES = Path(__file__).parent / "templates"
_PICTURES = {"kernels": "kernels.png", "neighbors": "neighbors.png"}  # measurements that draw one
_WIDTH = 640  # pixels of a chart outside of a browser


def write_report(findings: Findings, output: Path) -> list[Path]:
    """Writes report.html, REPORT.md with its pictures, and results.csv to a folder; returns their paths.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        (output / "pictures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output={output} cannot be written: {error.strerror}") from None
    drawn = {finding.study.name: charts(finding) for finding in findings.studies if finding.is_run}
    for name, each in drawn.items():
        for chart in each:
            with atomic_write(output / "pictures" / f"{name}_{chart.name}.png") as file:
                file.write_bytes(vl_convert.vegalite_to_png(_fixed(chart), scale=2))
    texts = {
        HTML_FILE: _html(findings, drawn),
        MARKDOWN_FILE: "\n".join(_markdown(findings, drawn)) + "\n",
        CSV_FILE: _csv(tabulate.results(findings)),
    }
    for name, text in texts.items():
        with atomic_write(output / name) as file:
            file.write_text(text, encoding="utf-8")
    return [output / name for name in texts]


def lead(findings: Findings) -> str:
    """What the report is of, in a sentence or two."""
    runs = len({run.path for finding in findings.studies for arm in finding.arms for run in arm.finished})
    questions = len(findings.studies)
    return (
        f"{questions} question{'s' if questions > 1 else ''} at the scale {findings.scale}: {SCALES[findings.scale]}. "
        f"Computed from {runs} runs on {date.today().isoformat()}."
    )


def _fixed(chart: Chart) -> dict[str, Any]:
    """The specification for a picture, which has no width of its own place."""
    return {
        **chart.spec,
        "width": _WIDTH,
        "title": {"text": chart.title, "anchor": "start"},
        "config": {"background": "white", "view": {"stroke": None}, "font": "DejaVu Sans"},
    }


def _html(findings: Findings, drawn: Mapping[str, Sequence[Chart]]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    specs = {f"{name}_{chart.name}": chart.spec for name, each in drawn.items() for chart in each}
    return environment.get_template("report.html").render(
        title=TITLE,
        lead=lead(findings),
        studies=[_study(finding, drawn.get(finding.study.name, ())) for finding in findings.studies],
        problems=[printable(problem) for problem in findings.problems],
        absent=findings.absent,
        method=METHOD,
        environments=list(_environments(findings)),
        notice=(TEMPLATES / "vega.txt").read_text(encoding="utf-8"),
        bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script"),
        specs=specs,
    )


def _study(finding: StudyFinding, drawn: Sequence[Chart]) -> dict[str, Any]:
    study = finding.study
    tested = tabulate.test_images(finding)
    return {
        "name": study.name,
        "title": study.title,
        "question": study.question,
        "verdict": finding.verdicts[0].difference.verdict,
        "answer": answer(finding),
        "notes": [*study.notes, *([tested + "."] if tested else [])],
        "charts": [
            {
                "id": f"{study.name}_{chart.name}",
                "title": chart.title,
                "description": chart.description,
                "arms": chart.arms,
                "svg": vl_convert.vegalite_to_svg(_fixed(chart)),
            }
            for chart in drawn
        ],
        "claims": tabulate.claims(finding),
        "arms": tabulate.settings(finding),
        "runs": tabulate.runs(finding),
        "pictures": list(_pictures(finding)),
    }


def _pictures(finding: StudyFinding) -> Iterator[dict[str, str]]:
    """The pictures that measurements drew, of the first run of each arm."""
    for arm in finding.arms:
        for run in arm.finished[:1]:
            for name, file in _PICTURES.items():
                path = run.path / FOLDER / name / file
                if name in finding.study.measurements and path.is_file():
                    data = base64.b64encode(path.read_bytes()).decode()
                    yield {"title": f"{arm.arm.name}: {name}", "source": f"data:image/png;base64,{data}"}


def _environments(findings: Findings) -> Iterator[str]:
    for values, count in findings.environments:
        versions = ", ".join(f"{name} {version}" for name, version in values.get("versions", {}).items())
        devices = ", ".join(map(str, values.get("devices", [])))
        yield printable(
            f"{count} runs: {values.get('cpu_count', '?')} CPU cores, devices {devices}; {versions}; commit "
            f"{values.get('git_commit', 'unknown')}; Python {values.get('python', '?')}, {values.get('platform', '?')}"
        )


def _markdown(findings: Findings, drawn: Mapping[str, Sequence[Chart]]) -> Iterator[str]:
    yield f"# {TITLE}\n\n{lead(findings)} [{HTML_FILE}]({HTML_FILE}) is the same with charts to explore.\n"
    for finding in findings.studies:
        yield f"- [{finding.study.question}](#{_anchor(finding.study.title)}) {finding.verdicts[0].difference.verdict}"
    if findings.problems:
        yield "\n## Left out\n"
        yield from (f"- {_escape(printable(problem))}" for problem in findings.problems)
    for finding in findings.studies:
        study = finding.study
        yield f"\n## {study.title}\n\n*{study.question}* {_escape(answer(finding))}\n"
        yield from (f"{note}\n" for note in study.notes)
        for chart in drawn.get(study.name, ()):
            yield f"![{chart.description}](pictures/{study.name}_{chart.name}.png)\n"
        yield from _markdown_table(tabulate.claims(finding))
        yield from _markdown_table(tabulate.settings(finding))
    yield "\n## How to read this\n"
    yield from (f"{paragraph}\n" for paragraph in METHOD)
    if findings.absent:
        yield f"Not at this scale: {'; '.join(f'{each.name} ({each.reason})' for each in findings.absent)}.\n"
    yield "Hardware and versions:\n"
    yield from (f"- {_escape(line)}" for line in _environments(findings))


def _anchor(title: str) -> str:
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def _markdown_table(table: Table) -> Iterator[str]:
    for row in (table.header, ["---"] * len(table.header), *table.rows):
        yield f"| {' | '.join(_escape(cell) if cell != '---' else cell for cell in row)} |"
    yield ""


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    for letter in "\\`*_{}[]<>|":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([table.header, *table.rows])
    return text.getvalue()
