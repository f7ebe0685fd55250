"""Collectives read from compiled programs, and from lines as other backends write them."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, PartitionSpec

from resnet_alexnet.parallel.collectives import KINDS, read_collectives, sent_bytes


@pytest.fixture(scope="module")
def program():
    """A program of all kinds on a mesh of 4 x 2 devices: its collectives by kind."""
    mesh = jax.make_mesh((4, 2), ("data", "tower"), axis_types=(AxisType.Auto,) * 2)

    def function(x, w):
        with jax.named_scope("conv3"):
            y = jax.lax.all_gather(x, "tower", axis=1, tiled=True)
        z = jax.lax.psum((y @ w, x.astype(jnp.bfloat16)), ("data", "tower"))
        scattered = jax.lax.psum_scatter(y, "tower", scatter_dimension=1, tiled=True)
        return z, scattered, jax.lax.ppermute(x, "data", [(0, 1)]), jax.lax.all_to_all(x, "tower", 0, 0)

    rows, all_rows = PartitionSpec("data", "tower"), PartitionSpec()
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=(rows, all_rows), out_specs=(all_rows, rows, rows, rows), check_vma=False
    )
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((8, 8), (8, 4))]
    return read_collectives(jax.jit(mapped).lower(*shapes).compile().as_text() or "")


def test_every_kind_is_read_from_a_compiled_program_with_its_bytes_and_group(program):
    # A device has x of 2 x 4 and y of 2 x 8 floats.
    gathered = [c for c in program if c.kind == "all-gather"]
    assert [(c.shapes, c.bytes, c.group_size) for c in gathered] == [((("f32", (2, 8)),), 64, 2)]
    assert "conv3/all_gather" in gathered[0].scope
    reduced = [c for c in program if c.kind == "all-reduce"]
    # XLA's CPU backend reduces bfloat16 as float32: 2 x 4 floats of the product, 2 x 4 of x
    assert sum(c.bytes for c in reduced) == 32 + 32
    assert {c.group_size for c in reduced} == {8}
    others = {c.kind: (c.bytes, c.group_size) for c in program if c.kind not in ("all-gather", "all-reduce")}
    assert others == {"reduce-scatter": (32, 2), "all-to-all": (32, 2), "collective-permute": (32, 2)}
    assert {c.kind for c in program} == set(KINDS)
    assert {c.computation for c in program} == {"ENTRY"}


def test_a_program_without_collectives_has_none():
    assert read_collectives(jax.jit(jnp.sin).lower(1.0).compile().as_text() or "") == []


@pytest.mark.parametrize(
    ("line", "kind", "size", "group"),
    [
        # as XLA writes them for GPUs and TPUs
        ("%a = bf16[10]{0} all-reduce-start(%x), replica_groups={}, to_apply=%add", "all-reduce", 20, 0),
        (
            "%a = (f32[2,4]{1,0:T(8,128)}, f32[2,8]{1,0:T(8,128)}) all-gather-start(%x), replica_groups=[4,2]<=[8]",
            "all-gather",
            64,
            2,
        ),
        (
            "ROOT %a = (f32[3]{0}, f32[3]{0}, u32[], u32[]) collective-permute-start(%x), source_target_pairs={{0,1}}",
            "collective-permute",
            12,
            2,
        ),
        ("%a = (pred[], f8e4m3fn[3]{0}) all-reduce(%x, %y), replica_groups=[1,64]<=[64]", "all-reduce", 4, 64),
    ],
)
def test_the_forms_of_other_backends(line, kind, size, group):
    (found,) = read_collectives(f"%body (p: f32[]) -> f32[] {{\n  {line}\n}}\n")
    assert (found.kind, found.bytes, found.group_size, found.computation, found.scope) == (
        kind,
        size,
        group,
        "%body",
        "",
    )
    done = line.replace(f"{kind}-start(", f"{kind}-done(")
    assert len(read_collectives(f"ENTRY %main {{\n  {done}\n}}")) == (done == line)


def test_a_ring_sends_what_each_device_lacks(program):
    sent = {c.kind: sent_bytes(c, 8) for c in program if c.kind != "all-reduce"}
    # of 64 bytes gathered, 64 scattered and 32 exchanged a device sends half; a permutation sends its whole operand
    assert sent == {"all-gather": 32, "reduce-scatter": 32, "all-to-all": 16, "collective-permute": 32}
    (reduced,) = read_collectives("ENTRY %m {\n  %a = f32[1000]{0} all-reduce(%x), replica_groups={}\n}")
    assert [sent_bytes(reduced, n) for n in (1, 2, 8, 64)] == [0, 4000, 7000, 7875]
