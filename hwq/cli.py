"""The command line: options, and one call each."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from hwq.errors import CheckFailed, HwqError, InputError

INTERRUPTED = 130
_FILE_WIDTH = 140


class _Commands(TyperGroup):
    """Turns hwq's errors into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HwqError as error:
            _fail(str(error), error.exit_code, error)
        except KeyboardInterrupt as error:
            _fail("interrupted; nothing is left half-written", INTERRUPTED, error)
        except OSError as error:
            _fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), 2, error)


def _fail(message: str, code: int, error: BaseException) -> None:
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {_escape(message)}", soft_wrap=True)
    raise typer.Exit(code) from error


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Extremely low-bit neural networks on FPGAs and ASICs, exact from training to C++.\n\n"
    "Start with [bold]hwq demo[/]. Exit codes: 0 ok, 1 the thing checked is not so, 2 bad input, 3 a tool is missing.",
)

cost_app = typer.Typer(no_args_is_help=True, help="How good the estimates are, and what they are fitted to.")
app.add_typer(cost_app, name="cost")

Model = Annotated[Path, typer.Argument(help="A QONNX file (.onnx) or a lowered graph (.hwq).")]
InputType = Annotated[
    str | None,
    typer.Option(
        help="Grid of inputs that the file does not quantise: fixed<W,I>, ufixed<W,I>, int<W>, uint<W>; "
        "a scale may follow: 'uint<8>*1/255'."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
BoardName = Annotated[
    str, typer.Option("--board", "-b", help="Board name (see hwq boards) or a board's TOML file.")
]
ClockNs = Annotated[float | None, typer.Option(help="Clock period in ns; the board's usual one by default.")]
IoStyle = Annotated[str, typer.Option("--io", help="parallel (whole tensors as wires) or stream (FIFOs).")]
Reuse = Annotated[
    list[str] | None,
    typer.Option(
        help="How often each multiplier is used in turn (1: unrolled); N, or LAYER=N, repeatable. "
        "auto: chosen for the target, with the strategy."
    ),
]
StrategyName = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy",
        help="latency, resource or distributed_arithmetic, or LAYER=one of them, repeatable; by default as "
        "--reuse asks. Several are what --reuse auto may choose from (latency and resource by default).",
    ),
]
TargetFps = Annotated[
    float | None, typer.Option(help="With --reuse auto: inferences per second, at the least resources.")
]
TargetLatency = Annotated[
    float | None,
    typer.Option("--target-latency-us", help="With --reuse auto: microseconds, at the least resources."),
]
FitName = Annotated[
    str,
    typer.Option("--fit", help="With --reuse auto: what must fit, the estimates' value or band (upper end)."),
]
FifoStyle = Annotated[
    str,
    typer.Option(
        "--fifo",
        help="Depths of FIFOs (io stream): full-rate (as fast as any), minimal (no deadlock), tensor (hls4ml's).",
    ),
]
BackendName = Annotated[
    str, typer.Option("--backend", help="Tool family: vitis (2020.1 and later), vivado (Vivado HLS).")
]


def _show(*things: Any, quiet: bool = False) -> None:
    if not quiet:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_FILE_WIDTH)
        for thing in things:
            console.print(thing)


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=1))  # noqa: T201


def _choice(kind: Any, value: str, option: str) -> Any:
    """A member of an Enum by its value, or an error that names them all."""
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(m.value for m in kind)
        raise InputError(f"{option} '{value}': choose one of {names}") from None


def _hardware(graph: Any, board: str, options: Mapping[str, Any]) -> Any:
    from hwq import boards
    from hwq.cost import Stage
    from hwq.folding import FitRule, Target, design
    from hwq.hardware import FifoDepths, Io, parse_backend, parse_reuse, parse_strategy

    stage = options.get("stage")
    return design(
        graph,
        boards.load(board),
        clock_ns=options["clock_ns"],
        io=_choice(Io, options["io"], "--io"),
        strategy=parse_strategy(options["strategy"] or ()),
        reuse=parse_reuse(options["reuse"] or ()),
        backend=parse_backend(options["backend"]),
        fifo=_choice(FifoDepths, options.get("fifo", "full-rate"), "--fifo"),
        target=Target(options["target_fps"], options["target_latency_us"]),
        fit=_choice(FitRule, options["fit"], "--fit"),
        stage=_choice(Stage, stage, "--stage") if stage else Stage.POST_SYNTH,
    )


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo"),
    recipe: Annotated[str, typer.Option(help="Recipe to train.")] = "digits-w2a2",
    board: BoardName = "pynq-z2",
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Digits, end to end: train, lower, verify against the compiled C++, estimate, report."""
    from hwq.demo import run_demo

    result = run_demo(out, recipe=recipe, board=board, force=force, quiet=quiet or as_json)
    if as_json:
        _print_json(result.to_json())
    else:
        _show(*result.lines(), quiet=quiet)
    result.verification.raise_if_failed()


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or path of a recipe's TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, metrics and checkpoints.")] = Path("run"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the recipe: section.key=value; may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a network with quantisation in the loop; writes model.onnx, graph.hwq, metrics.json, checkpoints."""
    from hwq import train as training
    from hwq.frontends import load
    from hwq.train.require import replica_rank

    result = training.run(
        recipe, out, overrides=overrides or (), resume=resume, force=force, quiet=quiet or as_json
    )
    if replica_rank()[0]:
        return  # torchrun's first process writes and speaks for all
    if result.model is not None:
        load(result.model).graph.save(out / "graph.hwq")
    if as_json:
        _print_json(json.loads(result.metrics.read_text()))
    else:
        epoch = f"(best of validation: epoch {result.best_epoch})"
        accuracy = f"test accuracy [bold]{100 * result.test_accuracy:.2f} %[/] {epoch}"
        files = [f"model   {result.model}", f"next    hwq verify {result.model}"]
        if result.model is None:
            files = [f"float   {result.checkpoint}: the recipe has no [quantize], so there is no model.onnx"]
        _show(accuracy, *files, quiet=quiet)


@app.command()
def lower(
    model: Model,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the integer graph (.hwq).")
    ] = None,
    input_type: InputType = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Lower a model to integers only; per layer: types, accumulator bits, requantisation, ties."""
    from hwq import display, runs
    from hwq.frontends import load
    from hwq.lowering.summary import summarise

    if output and output.exists() and not force:
        raise InputError(f"{output} exists: choose another name, or pass --force to replace it")
    start = time.perf_counter()
    lowering = load(model, input_type)
    summary = summarise(lowering, time.perf_counter() - start)
    if output:
        lowering.graph.save(output)
    if folder := runs.run_folder(model):
        runs.write_record(folder / "lower.json", summary)
    if as_json:
        _print_json(summary)
    else:
        _show(*display.input_lines(summary), display.lower_table(summary), quiet=quiet)


@app.command()
def simulate(
    model: Model,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            help="Input .npy: float32, or integer codes; batch first, in the file's shape. Several: .npz.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Output .npy: float64, the correctly rounded exact value. Several: .npz. With --explain: .json.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Print how each layer would be run, and why exactly; run nothing."),
    ] = False,
    codes: Annotated[bool, typer.Option("--codes", help="Write the output's integers instead.")] = False,
    trace: Annotated[
        Path | None, typer.Option(help="Folder for every tensor of the graph, as integers.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="numpy, onnxruntime (int8 kernels where they are proven), reference (plain), or auto: the "
            "faster one of the first two, where there is enough work; they agree."
        ),
    ] = "auto",
    epilogue: Annotated[
        bool, typer.Option("--epilogue", help="Apply a final Softmax or Sigmoid in float.")
    ] = False,
    input_type: InputType = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a model bit-exactly on integers."""
    from hwq.sim import Engine
    from hwq.simulation import explain_file, simulate_file

    if explain:
        plan = explain_file(model, _choice(Engine, engine, "--engine"), output, input_type, force=force)
        if as_json:
            _print_json(plan)
        else:
            from hwq.display import plan_table

            _show(plan_table(plan, model.name), quiet=quiet)
        return
    if not inputs or not output:
        raise InputError("give --input and --output (or --explain, to see how the model is run)")
    done = simulate_file(
        model,
        inputs,
        output,
        codes=codes,
        trace=trace,
        engine=_choice(Engine, engine, "--engine"),
        epilogue=epilogue,
        input_type=input_type,
        force=force,
        quiet=quiet or as_json,
    )
    if as_json:
        _print_json(done)
    else:
        _show(f"{done['rows']:,} rows in {done['seconds']:.3f} s -> {output}", *done["notes"], quiet=quiet)


@app.command()
def verify(
    model: Annotated[
        Path,
        typer.Argument(help="A QONNX file (.onnx), a lowered graph (.hwq), or a generated project's folder."),
    ],
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input", "-i", help="Float32 .npy, batch first; the test set of a trained run by default."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Random rows when there is no input.", min=1)] = 100,
    stages: Annotated[
        str | None,
        typer.Option(help="Comma-separated: torch, qonnx, numpy, csim; by default all that are possible."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="hwq train checkpoint, for the torch stage.")
    ] = None,
    project: Annotated[
        list[Path] | None,
        typer.Option(
            help="Generated project for the csim stage; may be repeated. By default both io styles are generated."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where verify.json goes; by default beside a trained model, else here."
        ),
    ] = None,
    input_type: InputType = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Prove stage = stage: PyTorch, QONNX executor, integers, compiled C++; also on ties and extreme inputs.

    Of a generated project: whether any file was touched since, and with --stages csim whether its C++ is still equal.
    """
    if model.is_dir():
        _verify_project(model, stages, quiet=quiet, as_json=as_json)
        return
    from hwq import display, runs
    from hwq.verification import verify_file

    place = output or (runs.run_folder(model) or Path()) / "verify.json"
    runs.check_record(place)
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        result = verify_file(
            model,
            inputs=inputs,
            samples=samples,
            names=stages.split(",") if stages else None,
            checkpoint=checkpoint,
            projects=project or (),
            input_type=input_type,
            scratch=Path(scratch),
            quiet=quiet or as_json,
        )
    runs.write_record(place, result.to_json())
    if as_json:
        _print_json(result.to_json())
    else:
        _show(display.verify_table(result), f"written {place}", quiet=quiet)
    result.raise_if_failed()


def _verify_project(project: Path, stages: str | None, *, quiet: bool, as_json: bool) -> None:
    from hwq.emit import csim, integrity

    if stages not in (None, "csim"):
        raise InputError(f"--stages {stages}: of a project, only csim can be run")
    found = integrity.check(project)
    if as_json:
        _print_json(found.to_json())
    elif found.ok:
        _show(f"{project}: {found.files} files, all as generated", quiet=quiet)
    found.raise_if_failed()
    if stages:
        result = csim.run(project).raise_if_failed()
        _show(result.message, quiet=quiet or as_json)


@app.command()
def generate(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new project.")],
    board: BoardName = "pynq-z2",
    clock_ns: ClockNs = None,
    io: IoStyle = "parallel",
    reuse: Reuse = None,
    strategy: StrategyName = None,
    fifo: FifoStyle = "full-rate",
    target_fps: TargetFps = None,
    target_latency_us: TargetLatency = None,
    fit: FitName = "value",
    backend: BackendName = "vitis",
    input_type: InputType = None,
    golden: Annotated[
        Path | None, typer.Option("--golden", help="Float32 .npy whose rows become golden vectors too.")
    ] = None,
    overlay: Annotated[
        bool,
        typer.Option(
            "--overlay", help="Add a PYNQ overlay: DMA, block design and Python driver (Zynq-7000)."
        ),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a self-checking HLS project for the board."""
    from hwq.display import folding_parts
    from hwq.generation import generate_file

    options = {
        "clock_ns": clock_ns,
        "io": io,
        "reuse": reuse,
        "strategy": strategy,
        "target_fps": target_fps,
        "target_latency_us": target_latency_us,
        "fit": fit,
        "backend": backend,
        "fifo": fifo,
    }
    record = generate_file(
        model,
        output,
        lambda g: _hardware(g, board, options),
        input_type=input_type,
        golden=golden,
        overlay=overlay,
        force=force,
    )
    if as_json:
        _print_json(record)
    else:
        _show(
            *folding_parts(record.get("folding")),
            f"project {output} ({record['files']} files, sha256 {record['digest'][:16]})",
            f"next    make -C {output} csim",
            quiet=quiet,
        )


@app.command()
def estimate(
    model: Model,
    board: BoardName = "pynq-z2",
    clock_ns: ClockNs = None,
    io: IoStyle = "parallel",
    reuse: Reuse = None,
    strategy: StrategyName = None,
    target_fps: TargetFps = None,
    target_latency_us: TargetLatency = None,
    fit: FitName = "value",
    backend: BackendName = "vitis",
    stage: Annotated[str | None, typer.Option(help="csynth, post_synth or post_route.")] = None,
    compare_boards: Annotated[
        bool, typer.Option("--compare-boards", help="Rank all boards instead; exit 1 if it fits none.")
    ] = False,
    overlay: Annotated[
        bool,
        typer.Option(
            "--overlay", help="With the AXI4-Stream wrapper of an overlay, without its DMA engines."
        ),
    ] = False,
    input_type: InputType = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Resources, latency and throughput on a board, with error bands; exit 1 if it does not fit."""
    from hwq import cost, estimation, runs
    from hwq.cost import render
    from hwq.display import folding_parts
    from hwq.frontends import load

    graph = load(model, input_type).graph
    options = {
        "clock_ns": clock_ns,
        "io": io,
        "reuse": reuse,
        "strategy": strategy,
        "target_fps": target_fps,
        "target_latency_us": target_latency_us,
        "fit": fit,
        "backend": backend,
        "stage": stage,
    }
    if compare_boards:
        _compare_boards(graph, options, quiet=quiet, as_json=as_json)
        return
    config = _hardware(graph, board, options)
    chosen = _choice(cost.Stage, stage, "--stage") if stage else None
    result = estimation.estimate(graph, config, chosen, overlay=overlay)
    content = result.to_json() | ({"folding": dict(config.folding)} if config.folding else {})
    if folder := runs.run_folder(model):
        runs.write_record(folder / "estimate.json", {"hwq": _version(), **content})
    if as_json:
        _print_json(content)
    else:
        _show(*folding_parts(config.folding), render.table(result), quiet=quiet)
    if result.to_json()["fits"] == "no":
        raise CheckFailed(
            f"the design does not fit {board}: {result.to_json()['bottleneck']}; {result.to_json()['cure']}"
        )


def _compare_boards(graph: Any, options: Mapping[str, Any], *, quiet: bool, as_json: bool) -> None:
    from rich.progress import track

    from hwq import board_ranking, boards, cost
    from hwq.display import ranking_table

    stage = options["stage"]
    known = track(
        boards.names(), "boards", console=Console(stderr=True), transient=True, disable=quiet or as_json
    )
    ranked = board_ranking.rank(
        graph,
        (boards.load(name) for name in known),
        lambda g, board: _hardware(g, board.name, options),
        _choice(cost.Stage, stage, "--stage") if stage else cost.Stage.POST_SYNTH,
    )
    if as_json:
        _print_json([r.to_json() for r in ranked])
    else:
        _show(ranking_table(ranked), quiet=quiet)
    if not any(r.fits != "no" for r in ranked):
        raise CheckFailed("the design fits none of the boards: fold it (--reuse auto), or use --io stream")


@app.command()
def synth(
    project: Annotated[Path, typer.Argument(help="Folder of a generated project.")],
    tool: Annotated[
        str | None, typer.Option(help="vitis (C synthesis) or vivado (implementation); both by default.")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Comma-separated: csim, csynth, cosim, export, impl; csynth and impl by default."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the commands; run nothing, need no tool.")
    ] = False,
    timeout_s: Annotated[float, typer.Option(help="Limit of each step in seconds.", min=1)] = 86400,
    force: Annotated[bool, typer.Option("--force", help="Run steps again that are done.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run Vitis HLS / Vivado on a project, read their reports, and hold the estimate to them.

    Steps that are done since the project last changed are skipped; logs are in PROJECT/logs, results in
    PROJECT/synth.json.
    """
    from hwq import display
    from hwq.synth import api

    names = api.steps_of(tool, steps.split(",") if steps else None)
    if dry_run:
        plan = api.commands(project, names)
        if as_json:
            _print_json(plan)
        else:
            _show(f"in {project}:", *(f"  {' '.join(entry['command'])}" for entry in plan), quiet=quiet)
        return
    record = api.synthesise(project, names, force=force, limit_s=timeout_s, quiet=quiet or as_json)
    if as_json:
        _print_json(record)
    else:
        _show(*display.synth_tables(record), quiet=quiet)


@cost_app.command("evaluate")
def cost_evaluate(
    rows: Annotated[
        Path | None,
        typer.Argument(
            help="JSON list of designs with their layers and what a tool reported; by default those that hwq "
            "ships, each estimated without its own source."
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Estimate designs from their layer lists and hold them to what the tools reported, source by source."""
    from hwq import display
    from hwq.cost import evaluate, row_files

    reading = row_files.read(rows) if rows else None
    estimates = evaluate.evaluate(reading.rows) if reading else evaluate.held_out()
    if as_json:
        _print_json(evaluate.to_json(estimates, reading))
    else:
        _show(*display.score_tables(evaluate.scores(estimates), estimates, reading), quiet=quiet)


@cost_app.command("calibrate")
def cost_calibrate(
    check: Annotated[
        bool,
        typer.Option("--check", help="Only say whether fits.json is what the points give; exit 1 if not."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here; by default hwq's own fits.json.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit the laws to the measured points, with cross-validation by source, and write fits.json."""
    from hwq import display
    from hwq.cost import calibrate
    from hwq.cost.fits import FITS_FILE
    from hwq.files import write_atomic

    content = calibrate.encoded()
    if check and FITS_FILE.read_bytes() != content:
        raise CheckFailed("fits.json is not what the points give: run hwq cost calibrate")
    if not check:
        write_atomic(output or FITS_FILE, content)
    if as_json:
        _print_json(json.loads(content))
    else:
        _show(display.fit_table(json.loads(content)), quiet=quiet)


def _version() -> str:
    from hwq import __version__

    return __version__


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="A run's folder, with metrics.json, verify.json and the like.")
    ],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """One self-contained HTML page, Markdown and JSON from a run's records."""
    from hwq.report import build

    written = [str(p) for p in build(folder).write(folder)]
    if as_json:
        _print_json({"written": written})
    else:
        _show(*written, quiet=quiet)


@app.command()
def boards(
    name: Annotated[
        str | None, typer.Argument(help="Show one board, with the source of each number.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The boards that hwq knows."""
    from hwq import boards as catalogue
    from hwq.display import board_table, boards_table

    known = [catalogue.load(name)] if name else [catalogue.load(n) for n in catalogue.names()]
    if as_json:
        import msgspec

        _print_json([msgspec.to_builtins(b, enc_hook=dict) for b in known])
    else:
        _show(board_table(known[0]) if name else boards_table(known), quiet=quiet)


@app.command()
def doctor(quiet: Quiet = False, as_json: Json = False) -> None:
    """What is installed, and what each part makes possible."""
    from dataclasses import asdict

    from hwq.display import doctor_table
    from hwq.doctor import examine

    findings = examine()
    if as_json:
        _print_json([asdict(f) for f in findings])
    else:
        _show(doctor_table(findings), quiet=quiet)


@app.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="What to measure: sim (the simulator), hls (C++ projects), cost (the estimates), "
            "train (methods × seeds; hours, and a rerun does only what is missing), train-speed (MNIST against "
            "plain Brevitas)."
        ),
    ] = "sim",
    model: Annotated[Path | None, typer.Option(help="A QONNX file; by default networks made here.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this network only, for example 'TFC 1W1A'; train: TASK or TASK/METHOD, * for any; "
            "repeatable."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(help="Random inputs, with --model.", min=1)] = 1000,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.", min=1)] = 5,
    seeds: Annotated[int, typer.Option(help="train: seeds of each method.", min=1)] = 3,
    data: Annotated[
        Path, typer.Option(help="train: folder of the data sets; a task without its file is left out.")
    ] = Path("data"),
    kept: Annotated[Path, typer.Option("--runs", help="train: folder where finished runs are kept.")] = Path(
        "runs/bench-train"
    ),
    workers: Annotated[int, typer.Option(help="train: processes of one thread each.", min=1)] = 2,
    csim: Annotated[
        bool, typer.Option("--csim", help="train: hold compiled C++ against the first seed's integers.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("reports"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure hwq against its peers, in one run (minutes); writes JSON, Markdown and a plot where one helps."""
    if name not in ("sim", "hls", "cost", "train", "train-speed"):
        raise InputError(f"no benchmark '{name}': there are sim, hls, cost, train and train-speed")
    from hwq.bench import cost, hls
    from hwq.bench.models import SUBJECTS
    from hwq.bench.sim import bench as bench_sim

    if name == "train":
        from hwq.bench.train import bench as bench_train

        found = bench_train(
            out, data=data, kept=kept, only=only or (), seeds=seeds, workers=workers, csim=csim,
            quiet=quiet or as_json,
        )  # fmt: skip
        _show_bench(found, out / "bench-train.md", quiet=quiet, as_json=as_json)
        return
    if unknown := set(only or ()) - SUBJECTS.keys():
        raise InputError(f"no network '{min(unknown)}': there are {', '.join(SUBJECTS)}")
    if name == "hls":
        result = hls.bench(out, model, only=only or (), quiet=quiet or as_json)
    elif name == "cost":
        result = cost.bench(out, model)
    elif name == "train-speed":
        from hwq.bench import train_speed

        result = train_speed.bench(out, data=data, rounds=rounds, quiet=quiet or as_json)
    else:
        result = bench_sim(out, model, rows, only=only or (), rounds=rounds, quiet=quiet or as_json)
    _show_bench(result, out / f"bench-{name}.md", quiet=quiet, as_json=as_json)


def _show_bench(result: Mapping[str, Any], table: Path, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        _print_json(result)
    else:
        _show(table.read_text(), quiet=quiet)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        _show(f"hwq {_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    _print_version(wanted=version)


def main() -> None:
    """Entry point of the `hwq` program."""
    app()
