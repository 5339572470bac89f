"""C simulation: compile a written project with g++ and run it, each in a process of its own."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from hwq.emit.manifest import NAME
from hwq.emit.scripts import CXX_FLAGS
from hwq.emit.testbench import check_codes, input_files
from hwq.errors import CheckFailed, InputError, ToolMissing
from hwq.ir import Graph
from hwq.rounding import IntArray

COMPILE_LIMIT_S = 900.0
RUN_LIMIT_S = 3600.0
_COMPLAINTS = ("WARNING", "ERROR")
_EXECUTABLE = "csim"


@dataclass(frozen=True)
class CsimResult:
    """What a run of the C++ said.

    Attributes:
        ok: Every compared word was equal, and nothing complained.
        rows: Rows run; 0 when the run did not come to its end.
        message: The testbench's own words.
        traces: Every tensor of the graph that the C++ computes, int64 (rows, *shape), if asked for.
    """

    ok: bool
    rows: int
    message: str
    seconds_compile: float
    seconds_run: float
    traces: Mapping[str, IntArray] = field(default_factory=dict)

    def raise_if_failed(self) -> CsimResult:
        """Self, if all was equal.

        Raises:
            CheckFailed: With the first differences.
        """
        if not self.ok:
            raise CheckFailed(f"csim differs from the integer graph:\n{self.message}")
        return self


class _Traced(msgspec.Struct):
    """A tensor that the C++ dumps, or that equals another (`of`)."""

    tensor: str
    shape: list[Annotated[int, msgspec.Meta(ge=1, le=2**28)]]
    of: str = ""
    binary: bool = False


class _Model(msgspec.Struct):
    """Where a project came from."""

    name: str
    sha256: str


class _Manifest(msgspec.Struct):
    """What csim reads of a manifest."""

    top: Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    model: _Model
    trace: list[_Traced]
    aliases: list[_Traced]


def build(project_dir: str | Path) -> Path:
    """Compile ``build/csim`` of a written project; both files at once.

    Raises:
        ToolMissing: g++ is not installed.
        CheckFailed: It does not compile.
        InputError: Not a project.
    """
    root = Path(project_dir).resolve()
    top = _manifest(root).top
    compiler = _compiler()
    folder = root / "build"
    folder.mkdir(exist_ok=True)
    flags = [*CXX_FLAGS, '-DWEIGHTS_DIR="firmware/weights"', "-isystem", "firmware/ap_types"]
    objects = {f"firmware/{top}.cpp": "build/top.o", f"{top}_test.cpp": "build/test.o"}
    _compile(root, [[compiler, *flags, "-c", source, "-o", target] for source, target in objects.items()])
    _compile(root, [[compiler, *objects.values(), "-o", f"build/{_EXECUTABLE}"]])
    return folder / _EXECUTABLE


def run(
    project_dir: str | Path,
    data_dir: str | Path | None = None,
    *,
    trace: bool = False,
    golden: bool = True,
    timeout_s: float = RUN_LIMIT_S,
) -> CsimResult:
    """Run a project, compiling it if ``build/csim`` is missing or older than a source.

    Args:
        project_dir: A written project.
        data_dir: Folder of ``in_<i>.dat`` (and ``golden_<i>.dat``); the project's own by default.
        trace: Return every tensor, also when rows differ.
        golden: Compare the outputs.
        timeout_s: Limit of the run; past it, or when it does not compile, `CheckFailed`.
    """
    root = Path(project_dir).resolve()
    manifest = _manifest(root)
    executable, seconds_compile = _built(root)
    options = ["--data", str(Path(data_dir).resolve())] if data_dir else []
    options += [] if golden else ["--no-golden"]
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        dump = Path(scratch) / "trace"
        options += ["--trace", str(dump)] if trace else []
        started = time.perf_counter()
        said, code = _execute(root, [str(executable), *options], timeout_s)
        seconds_run = time.perf_counter() - started
        traces = _read_traces(manifest, dump) if trace and code in (0, 1) else {}
    ok = code == 0 and not any(word in said for word in _COMPLAINTS)
    return CsimResult(ok, _rows(said), said.strip(), seconds_compile, seconds_run, traces)


def _built(root: Path) -> tuple[Path, float]:
    started = time.perf_counter()
    executable = root / "build" / _EXECUTABLE
    if not _is_fresh(root, executable):
        build(root)
    return executable, time.perf_counter() - started


def run_codes(
    project_dir: str | Path, graph: Graph, codes: Mapping[str, IntArray], timeout_s: float = RUN_LIMIT_S
) -> dict[str, IntArray]:
    """Every tensor that the C++ makes of the given input codes.

    Args:
        project_dir: A written project of `graph`.
        graph: The network, for the order and the intervals of the inputs.
        codes: Input integers, int64 (N, *shape) by tensor name.
        timeout_s: Limit of the run.

    Raises:
        InputError: Codes that do not fit the graph.
        CheckFailed: The C++ does not compile or run.
    """
    checked = check_codes(graph, codes)
    manifest = _manifest(Path(project_dir).resolve())
    if manifest.model.sha256 != graph.source_sha256:
        raise InputError(f"{project_dir} was generated from another model: generate it again")
    with tempfile.TemporaryDirectory(prefix="hwq-") as folder:
        for name, content in input_files(graph, checked).items():
            (Path(folder) / name).write_bytes(content)
        result = run(project_dir, folder, trace=True, golden=False, timeout_s=timeout_s)
    tensors = {**checked, **result.raise_if_failed().traces}
    return _with_aliases(manifest, tensors)


def _manifest(root: Path) -> _Manifest:
    try:
        return msgspec.json.decode((root / NAME).read_bytes(), type=_Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(
            f"{root} is not an hwq project (no readable {NAME}: {error}): make one with hwq generate"
        ) from error


def _compiler() -> str:
    found = shutil.which("g++")
    if found is None:
        raise ToolMissing(
            "csim needs the C++ compiler g++, which is not on PATH: install it, e.g. apt install g++"
        )
    return found


def _compile(root: Path, commands: list[list[str]]) -> None:
    """Run compilers side by side."""
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(c, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            )
            for c in commands
        ]
        try:
            said = [p.communicate(timeout=COMPILE_LIMIT_S)[1] for p in running]
        except BaseException as error:
            for process in running:
                process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise CheckFailed(f"g++ took longer than {COMPILE_LIMIT_S:g} s; use --io stream") from error
            raise
    for process, text in zip(running, said, strict=True):
        if process.returncode:
            raise CheckFailed(f"g++ does not compile {root}:\n{text[-2000:]}")


def _is_fresh(root: Path, executable: Path) -> bool:
    """Whether no C++ file is newer; weights in text files are read at run time."""
    if not executable.is_file():
        return False
    built = executable.stat().st_mtime_ns
    sources = (p for pattern in ("*.h", "*.cpp") for p in root.rglob(pattern))
    return all(p.stat().st_mtime_ns < built for p in sources)


def _execute(root: Path, command: list[str], timeout_s: float) -> tuple[str, int]:
    try:
        done = subprocess.run(
            command,
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"csim of {root} ran longer than {timeout_s:g} s: run fewer rows") from error
    return done.stdout or f"ended with status {done.returncode}", done.returncode


def _rows(said: str) -> int:
    found = re.search(r"(\d+) rows", said)
    return int(found.group(1)) if found else 0


def _read_traces(manifest: _Manifest, dump: Path) -> dict[str, IntArray]:
    layers = manifest.trace
    sizes = [int(np.prod(entry.shape)) for entry in layers]
    table = np.fromfile(dump, dtype=np.int64).reshape(-1, sum(sizes))
    columns = np.split(table, np.cumsum(sizes)[:-1], axis=1)
    traces = {
        e.tensor: (2 * c - 1 if e.binary else c).reshape(-1, *e.shape)
        for e, c in zip(layers, columns, strict=True)
    }
    return _with_aliases(manifest, traces)


def _with_aliases(manifest: _Manifest, tensors: dict[str, IntArray]) -> dict[str, IntArray]:
    """The tensors, and those that are one of them under another shape."""
    for alias in manifest.aliases:
        if alias.of in tensors:
            tensors[alias.tensor] = tensors[alias.of].reshape(-1, *alias.shape)
    return tensors
