"""`hwq demo`: the whole path on real data, step by step, in one folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from hwq import __version__, boards, cost, estimation, runs, sim, stages
from hwq import train as training
from hwq.chain import verify
from hwq.errors import InputError, ToolMissing
from hwq.files import check_output_dir
from hwq.frontends import load
from hwq.generation import write_project
from hwq.hardware import HardwareConfig, Io, configure
from hwq.lowering.lower import Lowering
from hwq.lowering.summary import summarise
from hwq.results import Verification
from hwq.stages import Stage
from hwq.train.require import require_training
from hwq.verification import float_stages

_GOLDEN_ROWS = 64


@dataclass(frozen=True)
class DemoResult:
    """What a user wants to know, and where it lies."""

    folder: Path
    accuracy: float
    verification: Verification
    estimate: Any
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "hwq": __version__,
            "folder": str(self.folder),
            "accuracy": self.accuracy,
            "exact": self.verification.ok,
            "fits": self.estimate["fits"],
            "estimate": self.estimate,
            "verification": self.verification.to_json(),
            "seconds": round(self.seconds, 1),
        }

    def lines(self) -> list[str]:
        """The three answers and the paths."""
        checked = self.verification
        values = sum(s.values for s in checked.stages)
        names = " = ".join(s.name for s in checked.stages)
        differ = sum(s.uncertified for s in checked.stages)
        certified = sum(s.certified + s.argmax_certified for s in checked.stages)
        exact = (
            f"[green]yes[/]: {names} = integers, {values:,} values"
            if checked.ok
            else f"[red]no[/]: {differ:,} values differ"
        )
        e = self.estimate
        lut = e["utilisation"]["lut"]
        project = self.folder / f"project_{e['io']}"
        colour = {"yes": "green", "no": "red"}.get(e["fits"], "yellow")
        used = f"LUT {100 * lut['lo']:.0f}–{100 * lut['hi']:.0f} %"
        speed = f"about {e['inferences_per_second']:,.0f} inferences/s at {1000 / e['clock_ns']:.0f} MHz"
        return [
            "",
            f"[bold]accuracy[/]  {100 * self.accuracy:.2f} % on the test set",
            f"[bold]exact[/]     {exact}, {certified:,} float32 ties certified",
            f"[bold]fits[/]      [{colour}]{e['fits']}[/] on {e['board']} ({e['io']}): {used}, {speed}",
            "",
            f"project   {project}   (make -C {project} csim)",
            f"report    {self.folder / 'report.html'}",
        ]


def run_demo(
    out: Path,
    *,
    recipe: str = "digits-w2a2",
    board: str = "pynq-z2",
    force: bool = False,
    quiet: bool = False,
) -> DemoResult:
    """Train, lower, generate, verify, estimate, report, all into the folder `out`."""
    start = time.perf_counter()
    console = Console(stderr=True, quiet=quiet, highlight=False)
    require_training()
    if shutil.which("g++") is None:
        raise ToolMissing(
            "the demo compiles the generated C++ with g++, which is not on PATH: install it, e.g. apt install g++"
        )
    target = boards.load(board)
    check_output_dir(out, force=force)
    with _step(console, "train", f"{recipe}, Brevitas QAT") as note:
        trained = training.run(recipe, out, force=force, quiet=quiet)
        if trained.model is None:
            raise InputError(f"recipe '{recipe}' has no [quantize]: the demo needs a quantised network")
        note.append(f"test accuracy {100 * trained.test_accuracy:.2f} %")
    with _step(console, "lower", "QONNX to integers only") as note:
        lowering = _lower(trained.model, out)
        note.append(f"{len(lowering.graph.nodes)} integer layers")
    graph = lowering.graph
    configs = {io: configure(graph, target, io=io) for io in (Io.PARALLEL, Io.STREAM)}
    with _step(console, "generate", f"HLS projects for {target.title}, parallel and stream") as note:
        records = _generate(lowering, configs, trained.test_inputs, out)
        note.append(", ".join(f"{r['files']} files" for r in records))
    with _step(console, "verify", "PyTorch = QONNX = integers = compiled C++") as note:
        result = _verify(lowering, trained, out)
        note.append(
            f"{sum(s.values for s in result.stages):,} values, {sum(s.uncertified for s in result.stages)} differ"
        )
    runs.write_record(out / "verify.json", result.to_json())
    _record_csim(out, records, result)
    with _step(console, "estimate", "resources and speed") as note:
        estimate = cost.estimate(graph, configs[Io.PARALLEL]).to_json()
        both = [estimate, estimation.estimate(graph, configs[Io.STREAM]).to_json()]
        both.sort(key=lambda e: bool(e["fits"] != "yes"))  # the headline is of a design that fits
        estimate = both[0]
        runs.write_record(out / "estimate.json", {"hwq": __version__, "estimates": both})
        note.append(", ".join(f"{e['io']}: fits {e['fits']}" for e in both))
    with _step(console, "report", "one HTML page, Markdown and JSON"):
        _report(out)
    return DemoResult(out, trained.test_accuracy, result, estimate, time.perf_counter() - start)


@contextmanager
def _step(console: Console, name: str, text: str) -> Iterator[list[str]]:
    """One line when a step begins, one when it ends with its time and notes."""
    console.print(f"[dim]…[/] [bold]{name:9}[/] {text}")
    start = time.perf_counter()
    notes: list[str] = []
    yield notes
    console.print(f"[green]✓[/] {name:9} {time.perf_counter() - start:5.1f} s  {', '.join(notes)}")


def _lower(model: Path, out: Path) -> Lowering:
    start = time.perf_counter()
    lowering = load(model)
    runs.write_record(out / "lower.json", summarise(lowering, time.perf_counter() - start))
    lowering.graph.save(out / "graph.hwq")
    return lowering


def _generate(
    lowering: Lowering, configs: dict[Io, HardwareConfig], inputs: Path, out: Path
) -> list[dict[str, Any]]:
    golden = sim.encode(lowering.graph, runs.load_array(inputs)[:_GOLDEN_ROWS])
    return [
        {
            **write_project(lowering.graph, config, out / f"project_{io.value}", golden, force=True),
            "path": f"project_{io.value}",
        }
        for io, config in configs.items()
    ]


def _verify(lowering: Lowering, trained: training.TrainResult, out: Path) -> Verification:
    graph = lowering.graph
    x = runs.load_array(trained.test_inputs)
    integer = {"numpy": stages.numpy_stage(graph)}
    for io in Io:
        integer[f"csim {io.value}"] = stages.csim_stage(graph, partial(Path, out / f"project_{io.value}"))
    return verify(
        lowering,
        stages.rows_for(graph, {graph.inputs[0].name: x}, 0),
        float_stages=float_stages(lowering, (Stage.TORCH, Stage.QONNX), trained.checkpoint),
        integer_stages=integer,
        labels=runs.load_labels(trained.test_labels, len(x)),
    )


def _record_csim(out: Path, records: list[dict[str, Any]], result: Verification) -> None:
    by_name = {s.name: s for s in result.stages}
    for record in records:
        stage = by_name[f"csim {record['io']}"]
        record["csim"] = {
            "ok": stage.ok,
            "rows": stage.rows,
            "seconds_compile": None,
            "seconds_run": stage.seconds,
        }
    runs.write_record(out / "generate.json", {"hwq": __version__, "projects": records})


def _report(out: Path) -> None:
    from hwq.report import build

    build(out).write(out)
