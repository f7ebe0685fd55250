"""What a report says in both of its forms, besides answers and tables."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from resnet_alexnet.errors import printable
from resnet_alexnet.study import tabulate
from resnet_alexnet.study.design import SCALES
from resnet_alexnet.study.findings import Findings, StudyFinding

TITLE = "AlexNet and ResNet: what the papers claim, and what these runs say"
METHOD = (
    "Every comparison, its metric and its margin were fixed in the file of the study before any run. All settings of "
    "a study had equally many learning rates to choose from, by validation error, in runs with a seed of their own; "
    "only the runs that count were tested, once, at their end. Training errors of claims are measured after the last "
    "step, in evaluation mode, without augmentation and dropout; those of curves are measured while training.",
    "A verdict follows from Welch's 95 % interval for the difference of the two means. Reproduced: the interval "
    "excludes zero, with the sign of the claim. Differs: it excludes zero with the other sign, or the two are equal "
    "within the margin by two one-sided tests. Within noise: neither. Indicative: fewer than three seeds. If a "
    "claim is one of equality, or the paper's own difference on such data is below the margin, reproduced means equal "
    "within the margin. Holm's p is over the primary comparisons of all studies; the primary one is the first.",
    "Intervals are over seeds: they do not contain the sampling error of the test images, which all runs share. A "
    "paper's value is of its own data and scale, and is shown, not compared, beside values of another scale.",
)
VERDICTS = {
    "reproduced": "\N{CHECK MARK}",
    "differs": "\N{MULTIPLICATION X}",
    "within noise": "\N{ALMOST EQUAL TO}",
    "indicative": "\N{CIRCLE WITH LEFT HALF BLACK}",
    "not run": "\N{WHITE CIRCLE}",
}  # a sign for each, so that a verdict is not told by its color alone


def lead(findings: Findings) -> str:
    """What the report is of, in a sentence or two."""
    seeds = [seed for finding in findings.studies for arm in finding.arms for seed in arm.finished]
    runs = len({seed.folder for seed in seeds if seed.steps is not None})
    questions = len(findings.studies)
    scale = (
        f"at the scale {findings.scale}: {SCALES[findings.scale]}"
        if findings.scale in SCALES
        else "on your photographs"
    )
    times = [line["time"] for seed in seeds for line in seed.lines if line.get("time")]
    last = f", the last of {datetime.fromtimestamp(max(times), UTC).date().isoformat()}" if times else ""
    return (
        f"{questions} question{'s' if questions > 1 else ''} {scale}. Computed from the files of {runs} "
        f"run{'' if runs == 1 else 's'}{last}."
    )


def notes(finding: StudyFinding) -> list[str]:
    """What a reader must know about a study at this scale."""
    return [*finding.study.notes, *filter(None, [tabulate.sampling(finding)])]


def absent(findings: Findings) -> str:
    """Which studies the scale does not have, and why."""
    return f"Not at this scale: {'; '.join(f'{each.name} ({each.reason})' for each in findings.absent)}."


def environments(findings: Findings) -> Iterator[str]:
    """What the runs ran on."""
    for values, count in findings.environments:
        yield printable(f"{count} run{'' if count == 1 else 's'}: {_environment(values)}")


def _environment(values: Mapping[str, Any]) -> str:
    versions, devices = values.get("versions"), values.get("devices")
    named = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else "?"
    return (
        f"{values.get('cpu_count', '?')} CPU cores; devices {', '.join(map(str, devices or ['?']))}; commit "
        f"{values.get('git_commit', '?')}; {named}; Python {values.get('python', '?')}; {values.get('platform', '?')}"
    )
