"""The JSON that the other commands leave in a run's folder, as types; keys not named here are allowed."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

Number = int | float


class Epoch(Struct, frozen=True, kw_only=True):
    """One training epoch; accuracies between 0 and 1."""

    epoch: int
    loss: float | None = None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    learning_rate: float | None = None


class Dataset(Struct, frozen=True, kw_only=True):
    """Sizes of the three splits."""

    name: str
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    input_shape: list[int] = []
    classes: int | None = None


class Metrics(Struct, frozen=True, kw_only=True):
    """`metrics.json`, written by `hwq train`."""

    test_accuracy: float
    hwq: str | None = None
    recipe: dict[str, Any] = {}
    seed: int | None = None
    dataset: Dataset | None = None
    parameters: int | None = None
    weight_bits: Number | None = None
    act_bits: Number | None = None
    epochs: list[Epoch] = []
    best_epoch: int | None = None
    validation_accuracy: float | None = None
    test_correct: int | None = None
    test_total: int | None = None
    seconds: float | None = None


class Port(Struct, frozen=True, kw_only=True):
    """An input or output of the integer graph."""

    name: str
    shape: list[int]
    type: str
    lo: int | None = None
    hi: int | None = None
    quantizer: str | None = None


class Layer(Struct, frozen=True, kw_only=True):
    """One node of the integer graph."""

    name: str
    op: str
    shape: list[int]
    out_type: str
    source: str | None = None
    inputs: list[str] = []
    in_type: str | None = None
    lo: int | None = None
    hi: int | None = None
    weight_bits: Number | None = None
    accumulator_bits: int | None = None
    form: str | None = None
    proof_checks: int | None = None
    macs: int = 0
    parameters: int = 0
    ties: int | None = None


class Lower(Struct, frozen=True, kw_only=True):
    """`lower.json`, written by `hwq lower`."""

    model: str
    layers: list[Layer]
    hwq: str | None = None
    sha256: str | None = None
    inputs: list[Port] = []
    outputs: list[Port] = []
    macs: int | None = None
    parameters: int | None = None
    seconds: float | None = None
    notes: list[str] = []


class Inputs(Struct, frozen=True, kw_only=True):
    """How many inputs of each kind were compared."""

    given: int = 0
    tie: int = 0
    extreme: int = 0
    total: int = 0


class Divergence(Struct, frozen=True, kw_only=True):
    """The first value at which a stage differs without a certificate."""

    tensor: str
    layer: str | None = None
    row: int | None = None
    index: list[int] = []
    expected: Any = None
    got: Any = None
    why: str | None = None


class Stage(Struct, frozen=True, kw_only=True):
    """One stage compared with the integers."""

    name: str
    ok: bool
    against: str = "integers"
    rows: int = 0
    tensors: int = 0
    values: int = 0
    different: int = 0
    certified: int = 0
    uncertified: int = 0
    argmax_flips: int = 0
    seconds: float | None = None
    first: Divergence | None = None


class ComparedTensor(Struct, frozen=True, kw_only=True):
    """One tensor in every stage; a stage that is not a key did not compare it."""

    tensor: str
    layer: str | None = None
    values: int | None = None
    ties: int | None = None
    different: dict[str, int] = {}
    certified: dict[str, int] = {}


class Ties(Struct, frozen=True, kw_only=True):
    """How many exact ties the inputs reached."""

    quantiser_values: int = 0
    argmax_rows: int = 0


class Certificate(Struct, frozen=True, kw_only=True):
    """Proof that a float stage's own rounding explains a difference."""

    stage: str
    tensor: str
    row: int | None = None
    index: list[int] = []
    code: Any = None
    stage_code: Any = None
    distance: str | None = None
    bound: str | None = None
    real: str | None = None


class Accuracy(Struct, frozen=True, kw_only=True):
    """Share of the given inputs that the integer network classifies right."""

    integers: float | None = None


class Verify(Struct, frozen=True, kw_only=True):
    """`verify.json`, written by `hwq verify`."""

    ok: bool
    stages: list[Stage]
    hwq: str | None = None
    model: str | None = None
    inputs: Inputs = field(default_factory=Inputs)
    layers: list[ComparedTensor] = []
    ties: Ties | None = None
    certificates: list[Certificate] = []
    accuracy: Accuracy | None = None


class Band(Struct, frozen=True, kw_only=True):
    """An estimate and the band around it."""

    value: float
    lo: float
    hi: float


class LayerCost(Struct, frozen=True, kw_only=True):
    """Estimated cost of one layer."""

    name: str
    op: str = ""
    path: str | None = None
    lut: Band | None = None
    ff: Band | None = None
    dsp: Band | None = None
    bram18: Band | None = None
    latency_cycles: float | None = None
    ii_cycles: float | None = None
    outside_calibration: bool = False


class Estimate(Struct, frozen=True, kw_only=True):
    """One design on one board, written by `hwq estimate`."""

    board: str
    total: dict[str, Band]
    available: dict[str, float | None]
    fits: Literal["yes", "no", "uncertain"]
    part: str | None = None
    clock_ns: float | None = None
    stage: str | None = None
    io: str | None = None
    strategy: str | None = None
    layers: list[LayerCost] = []
    utilisation: dict[str, Band | None] = {}
    latency_cycles: float | None = None
    ii_cycles: float | None = None
    latency_us: float | None = None
    inferences_per_second: float | None = None
    bottleneck: str | None = None
    cure: str | None = None


class Estimates(Struct, frozen=True, kw_only=True):
    """`estimate.json` with several designs."""

    estimates: list[Estimate]


class Csim(Struct, frozen=True, kw_only=True):
    """Outcome of compiling and running a project's C++ against its golden vectors."""

    ok: bool
    rows: int | None = None
    seconds_compile: float | None = None
    seconds_run: float | None = None


class GeneratedProject(Struct, frozen=True, kw_only=True):
    """One HLS project on disk; `path` is relative to the run's folder."""

    path: str
    io: str | None = None
    board: str | None = None
    part: str | None = None
    clock_ns: float | None = None
    digest: str | None = None
    csim: Csim | None = None


class Generate(Struct, frozen=True, kw_only=True):
    """`generate.json`, written by `hwq generate`."""

    projects: list[GeneratedProject]
