"""A short summary of a report, for the terminal."""

from collections.abc import Mapping
from typing import Any

from resnet_alexnet.data.readers.imagenet_classes import display_name

_AMONG_PRESENT = "if only the classes that have images can be predicted"


def summary_rows(result: Mapping[str, Any]) -> list[tuple[str, object]]:
    """The rows, (name, value), of the summary of a `report.report`, with "parts" and "against" if it has them."""
    made_by = result["settings"].get("mean_of", [result["settings"]])
    protocols = dict.fromkeys(map(_format_protocol, made_by))
    rows: list[tuple[str, object]] = [
        ("images", f"{result['images']:,}, {made_by[0].get('dataset')} {made_by[0].get('split')}"),
        *(("test", protocol) for protocol in protocols),
    ]
    for name, part in (*result.get("parts", {}).items(), ("error", result)):
        rows.append((name, _format_errors(part)))
        if "among_present" in part:
            present = part["among_present"]
            rows.append((f"of {present['classes']:,} classes", f"{_format_errors(present)}, {_AMONG_PRESENT}"))
    if result["without_prediction"]:
        rows.append(("not classified", f"{result['without_prediction']:,} images, whose scores are NaN"))
    if result["confusions"]:
        label, prediction, count = result["confusions"][0]
        images = result["per_class"][label]["images"]
        rows.append(
            (
                "most confused",
                f"{display_name(label)} classified as {display_name(prediction)}, {count:,} of {images:,}",
            )
        )
    if result["calibration"]:
        rows.append(("calibration", _format_calibration(result["calibration"])))
    if "against" in result:
        against = result["against"]
        low, high = against["difference_interval"]
        rows += [
            ("against", f"{against['other']}: {against['other_top1_error']:.2f} %"),
            (
                "difference",
                f"{against['difference']:+.2f} points (95 %: {low:+.2f} to {high:+.2f}), p = {against['p_value']:.2g}",
            ),
            ("only one wrong", f"{against['only_this_wrong']:,} images, the other {against['only_other_wrong']:,}"),
        ]
    return rows


def _format_errors(part: Mapping[str, Any]) -> str:
    """The errors of a report, or of a part with only some classes; of five classes all are among the best five."""
    words = []
    for name, title, classes in (("top1", "top-1", 1), ("top5", "top-5", 5)):
        if f"{name}_error" in part and part["classes"] > classes:
            low, high = part[f"{name}_interval"]
            words.append(f"{title} {part[f'{name}_error']:.2f} % (95 %: {low:.2f} to {high:.2f})")
    return ", ".join(words)


def _format_calibration(of: Mapping[str, Any]) -> str:
    return (
        f"expected error {of['expected_error']:.2f} % ({of['adaptive_error']:.2f} % with bins of equal size), "
        f"confidence {of['overconfidence']:+.2f} points above accuracy, "
        f"log-likelihood {-of['negative_log_likelihood']:.4g} nats"
    )


def _format_protocol(made: Mapping[str, Any]) -> str:
    views = str(made.get("views")).replace("_", " ")
    own, size = made.get("shorter_side"), made.get("image_size")
    scales = ", ".join(map(str, made.get("scales") or ())) or (
        f"{own} (the network's own)" if own else "the network's own"
    )
    if size and made.get("views") != "fully_convolutional":
        views += f" {size} x {size}"
    mirrored = ", with mirror images" if made.get("mirrored") else ""
    return f"{views}{mirrored}, scale {scales}, mean of {made.get('average')}"
