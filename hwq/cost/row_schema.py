"""The schema of a design's row: its layers, and what a tool reported on it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
Bits = Annotated[int, msgspec.Meta(ge=1, le=128)]


class Weights(msgspec.Struct, frozen=True):
    """Of a layer's integer weights: all, those not zero, distinct ones of >= 2 and >= 3 signed digits.

    `src` begins with ``expected`` where they are what an initialiser gives on average, not counted.
    """

    n: Whole | None = None
    nz: Whole | None = None
    u2: Whole | None = None
    u3: Whole | None = None
    csd: Whole | None = None
    csd_ge3: Whole | None = None
    src: str | None = None


class Layer(msgspec.Struct, frozen=True):
    """One layer; sizes in elements, widths in bits. What a kind of layer does not have is None."""

    type: str
    n_in: Size | None = None
    n_out: Size | None = None
    in_h: Size | None = None
    in_w: Size | None = None
    in_ch: Size | None = None
    out_h: Size | None = None
    out_w: Size | None = None
    out_ch: Size | None = None
    kh: Size | None = None
    kw: Size | None = None
    ph: Size | None = None
    pw: Size | None = None
    n_seq: Size | None = None
    n_state: Size | None = None
    in_bits: Bits | None = None
    out_bits: Bits | None = None
    w_bits: Bits | None = None
    acc_bits: Bits | None = None
    rf: Size | None = None
    strategy: str | None = None
    act: str | None = None
    op: str | None = None
    table_size: Size | None = None
    table_bits: Bits | None = None
    n_partitions: Size | None = None
    w: Weights | None = None
    mw: Size | None = None
    mh: Size | None = None
    pe: Size | None = None
    simd: Size | None = None
    vectors: Size | None = None
    da_cost: Count | None = None
    da_reg_bits: Count | None = None


class Row(msgspec.Struct, frozen=True):
    """A design and, where known, what a tool said of it; None is unknown."""

    id: str
    layers: Annotated[list[Layer], msgspec.Meta(min_length=1, max_length=4096)]
    stage: Literal["csynth", "post_synth", "post_route"] = "csynth"
    source: str = ""
    flow: str = ""
    template: str = "upstream"
    level: Literal["model", "layer"] = "model"
    unit_kind: str | None = None
    design_style: str | None = None
    tool: str | None = None
    part: str | None = None
    family: str | None = None
    speed: int | None = None
    clock_ns: Annotated[float, msgspec.Meta(gt=0, le=1e4)] | None = None
    io: str = "io_parallel"
    lut: Count | None = None
    ff: Count | None = None
    dsp: Count | None = None
    bram18: Count | None = None
    lat_max: Count | None = None
    ii_max: Count | None = None


RESOURCES = ("lut", "ff", "dsp", "bram18")
CYCLES = ("lat_max", "ii_max")
TARGETS = (*RESOURCES, *CYCLES)
