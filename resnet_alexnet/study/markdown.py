"""The report as Markdown, with pictures."""

from collections.abc import Iterator, Mapping, Sequence

from resnet_alexnet.errors import printable
from resnet_alexnet.study import tabulate, texts
from resnet_alexnet.study.answers import answer
from resnet_alexnet.study.findings import Findings, StudyFinding
from resnet_alexnet.study.pictures import pictures
from resnet_alexnet.study.recommendation import Recommendation
from resnet_alexnet.study.specs import Chart
from resnet_alexnet.study.tabulate import Cell, Table

_SPECIAL = "\\`*_{}[]<>|#"


def lines(
    findings: Findings,
    drawn: Mapping[str, Sequence[Chart]],
    recommended: Mapping[str, Recommendation],
    *,
    page: str,
    folder: str,
) -> Iterator[str]:
    """The lines of REPORT.md.

    Args:
        findings: what the runs say.
        drawn: the charts of each study, by its name.
        recommended: what studies recommend, by their names.
        page: the file of the page with charts to explore.
        folder: that of the pictures of the charts.
    """
    yield f"# {texts.TITLE}\n\n{escape(texts.lead(findings))} [{page}]({page}) is the same with charts to explore.\n"
    answers = {
        each.study.name: recommended[each.study.name].sentences[0] if each.study.name in recommended else answer(each)
        for each in findings.studies
    }
    yield from table(_overview(findings, answers))
    if findings.problems:
        yield "## Left out\n"
        yield from (f"- {escape(printable(problem))}" for problem in findings.problems)
        yield ""
    for finding in findings.studies:
        said = answers[finding.study.name]
        yield from _study(finding, said, drawn.get(finding.study.name, ()), findings.scale, folder)
        if finding.study.name in recommended:
            yield from _recommendation(recommended[finding.study.name])
    yield "## How to read this\n"
    yield from (f"{escape(paragraph)}\n" for paragraph in texts.METHOD)
    if findings.absent:
        yield f"{escape(texts.absent(findings))}\n"
    yield "Hardware and versions:\n"
    yield from (f"- {escape(line)}" for line in texts.environments(findings))


def _overview(findings: Findings, answers: Mapping[str, str]) -> Table:
    rows = [
        [Cell(each.study.question), Cell(each.verdicts[0].difference.verdict), Cell(answers[each.study.name])]
        for each in findings.studies
    ]
    return Table([Cell("question"), Cell("verdict"), Cell("answer")], rows)


def _study(finding: StudyFinding, said: str, drawn: Sequence[Chart], scale: str, folder: str) -> Iterator[str]:
    study = finding.study
    yield f"## {escape(study.title)}\n\n*{escape(study.question)}*\n\n**{escape(said)}**\n"
    yield from (f"{escape(note)}\n" for note in texts.notes(finding))
    for chart in drawn:
        yield f"![{escape(chart.title)}. {escape(chart.description)}]({folder}/{study.name}_{chart.name}.png)\n"
    for each in pictures(finding):
        yield f"![{escape(each.title)}. {escape(each.about)}]({folder}/{each.name})\n"
    header = [Cell("claim"), Cell("verdict"), Cell("these runs"), Cell("published")]
    claims = [
        [Cell(each.text, each.source), Cell(each.verdict, each.verdict_note), each.ours, each.published]
        for each in tabulate.claims(finding, scale)
    ]
    yield from table(Table(header, claims))
    yield from table(tabulate.settings(finding))


def _recommendation(found: Recommendation) -> Iterator[str]:
    yield "### Recommendation\n"
    yield from (f"{escape(sentence)}\n" for sentence in found.sentences)
    yield f"The command that trains it at full length:\n\n```sh\n{found.command}\n```\n"
    yield from table(found.networks)
    if found.confusions.rows:
        yield "What the recommended network confuses:\n"
        yield from table(found.confusions)
    yield f"{found.wrong_shown}\n"
    if not found.wrong:
        return
    header = [Cell(text) for text in ("photograph", "filed as", "taken for", "by")]
    yield from table(
        Table(header, [[Cell(p.name), Cell(p.label), Cell(p.prediction), Cell(p.votes)] for p in found.wrong])
    )


def table(of: Table) -> Iterator[str]:
    """The lines of a table."""
    yield _row(of.header)
    yield f"|{'---|' * len(of.header)}"
    yield from map(_row, of.rows)
    yield ""


def _row(cells: Sequence[Cell]) -> str:
    shown = (escape(cell.text) + (f" ({escape(cell.note)})" if cell.note else "") for cell in cells)
    return f"| {' | '.join(shown)} |"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return " ".join("".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text).split())
