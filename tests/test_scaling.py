"""The model of many hosts in benchmarks/scaling.py, and the numbers that docs/scaling.md takes from it."""

import json
import re
import shlex
from pathlib import Path

import pytest

from resnet_alexnet import parallel

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.partition("scaling.py ")[2])
    for block in re.findall(r"^```sh\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if "benchmarks/scaling.py" in line
]


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import scaling

    return scaling


def ring_bytes(devices, size):
    """The most bytes that a device sends in a ring all-reduce of `size` bytes, counted message by message."""
    sent, chunk = [0.0] * devices, size / devices
    for _ in ("reduce-scatter", "all-gather"):
        for _ in range(devices - 1):
            for device in range(devices):
                sent[device] += chunk
    return max(sent)


@pytest.mark.parametrize(("hosts", "devices"), [(1, 1), (1, 8), (2, 1), (3, 4), (64, 8)])
def test_the_all_reduce_is_a_ring_in_the_hosts_and_one_over_them(scaling, hosts, devices):
    rates = scaling.Rates(
        images_per_second=100,
        device_batch_size=10,
        devices=devices,
        host_link=50.0,
        link=5.0,
        latency=0.0,
        messages=1,
        image_bytes=1,
        images_per_core=1,
        write=1,
    )
    expected = ring_bytes(devices, 1000) / 50 + ring_bytes(hosts, 1000 / devices) / 5
    assert scaling.all_reduce_seconds(1000, hosts, rates) == pytest.approx(expected)
    row = scaling.predict(scaling.Network(245, 0), hosts, rates)  # 4 x (245 + 5) bytes, reduced after 0.1 s
    assert row.step_ms == pytest.approx(1e3 * (0.1 + expected))
    assert row.efficiency_percent <= row.overlapped_efficiency_percent <= 100
    everything = "ENTRY %m {\n  %a = f32[250]{0} all-reduce(%x), replica_groups={}\n}"
    (reduced,) = parallel.read_collectives(everything)
    assert parallel.sent_bytes(reduced, devices) == pytest.approx(ring_bytes(devices, 1000), abs=1)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0] + words[-1])
def test_the_numbers_of_the_doc_come_from_its_commands(scaling, words, capsys):
    scaling.main(words)
    *lines, last = capsys.readouterr().out.splitlines()
    rows = json.loads(last)["rows"]
    if not any(word.startswith("--hosts=") for word in words):
        table = re.findall(r"<!-- table -->(.*?)<!-- /table -->", DOC, re.DOTALL)[0].split("\n")
        assert [line for line in table if line] == [line for line in lines[1:] if line]
        return
    for row in rows:
        assert re.search(rf"{row['efficiency_percent']:.1f} %\s+on\s+({row['hosts']}|one)\b", DOC), row["hosts"]


def test_the_bytes_of_resnet_50_are_those_that_the_compiled_step_reduces(scaling):
    network = scaling.measure_network("resnet50")
    # What --dry_run=64 printed, which the doc shows: less the gradients that are equal, of 3,840 channels.
    assert f"{network.reduced_bytes - 4 * 3840:,}" in DOC
    assert network.parameters == 25_557_032
