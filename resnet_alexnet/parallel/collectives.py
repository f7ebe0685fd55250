"""The collectives of a compiled program, read from the text of its HLO."""

import math
import re
from dataclasses import dataclass

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

# "  %name = SHAPE KIND(operands), attributes": SHAPE is "f32[2,3]{1,0}", or several of these in parentheses.
_INSTRUCTION = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\((.*?)\)(.*)")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\]")
_GROUP = re.compile(r"replica_groups=\{\{([\d,]*)\}")  # the first group of {{0,1},{2,3}}
_IOTA_GROUPS = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")  # [groups, devices in a group]<=[devices]


@dataclass(frozen=True)
class Collective:
    """A collective of a compiled program. All sizes are those of one device.

    Attributes:
        kind: one of `KINDS`.
        shapes: type and dimensions of each array of its result, such as ("f32", (3, 3, 16, 16)).
        bytes: bytes of its result: for an all-gather what is gathered, for a reduce-scatter what is left.
        group_size: devices that take part together; 0 if all do, which is how XLA writes a single group of all.
        scope: its operation in the program: the path of `jax.named_scope` and the primitive, such as
            "jit(step)/conv3/all_gather". Empty if XLA gives none.
        computation: the name of the computation that it is in; "ENTRY" for the main one.
    """

    kind: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    bytes: int
    group_size: int
    scope: str
    computation: str


def read_collectives(text: str) -> list[Collective]:
    """Reads the collectives of a compiled program, in the order of the program.

    Args:
        text: `jax.jit(function).lower(...).compile().as_text()`.
    """
    computation, found = "", []
    for line in text.splitlines():
        if line and not line[0].isspace():
            computation = line.split()[0]
        match = _INSTRUCTION.search(line)
        if match is None:
            continue
        result, kind, start, operands, attributes = match.groups()
        shapes = [(dtype, _dimensions(sizes)) for dtype, sizes in _ARRAY.findall(result)]
        if start and kind != "all-reduce":  # the result of the asynchronous form starts with its operands
            count = operands.count("%")
            shapes = shapes[count : 2 * count]
        name = re.search(r'op_name="([^"]*)"', attributes)
        found.append(
            Collective(
                kind=kind,
                shapes=tuple(shapes),
                bytes=sum(_item_bytes(dtype) * math.prod(sizes) for dtype, sizes in shapes),
                group_size=_group_size(kind, attributes),
                scope=name[1] if name else "",
                computation=computation,
            )
        )
    return found


def sent_bytes(collective: Collective, devices: int) -> int:
    """The bytes that each device sends in a ring, rounded up; every device receives as many.

    Args:
        collective: the collective.
        devices: devices of the whole program, for a group of all.

    Source: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms": 2 (n - 1) / n of the buffer.
    """
    n = collective.group_size or devices
    share = {
        "all-reduce": 2 * (n - 1) / n,
        "all-gather": (n - 1) / n,
        "reduce-scatter": n - 1,
        "all-to-all": (n - 1) / n,
        "collective-permute": 1,
    }
    return math.ceil(share[collective.kind] * collective.bytes)


def _dimensions(sizes: str) -> tuple[int, ...]:
    return tuple(int(size) for size in sizes.split(",") if size)


def _item_bytes(dtype: str) -> int:
    """Bytes of an element: "f32" 4, "bf16" 2, "f8e4m3fn" 1, "pred" 1. A token has none."""
    bits = re.search(r"\d+", dtype)
    return int(dtype == "pred") if bits is None else math.ceil(int(bits[0]) / 8)


def _group_size(kind: str, attributes: str) -> int:
    """The devices of a group; pairs for a collective-permute, and 0 for all."""
    if kind == "collective-permute":
        return 2
    if match := _GROUP.search(attributes):
        return len(match[1].split(","))
    match = _IOTA_GROUPS.search(attributes)
    return int(match[1]) if match else 0
