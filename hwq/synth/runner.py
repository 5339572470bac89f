"""Running steps: live progress, the log on disk, the first real error, and what to skip when it is run again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from hwq.errors import CheckFailed, InputError
from hwq.files import write_atomic
from hwq.synth.steps import STEPS, Step, Target
from hwq.synth.tools import Tool

RECORD = "synth.json"
LIMIT_S = 24 * 3600.0
_REAL_ERROR = re.compile(r"^\s*(ERROR|CRITICAL ERROR|FATAL)\b\s*[:\[]")
_GRACE_S = 5.0
_LOOK_S = 0.25


class Done(msgspec.Struct, frozen=True):
    """A step that came to its end with all its products."""

    seconds: float
    tool: str
    version: str
    fingerprint: str


class Record(msgspec.Struct):
    """``synth.json``: steps that are done, and what the reports said."""

    steps: dict[str, Done] = {}
    reports: dict[str, Any] = {}
    comparison: list[dict[str, Any]] = []


def load(root: Path) -> Record:
    """The record of a project; empty if nothing was run.

    Raises:
        InputError: It cannot be read.
    """
    path = root / RECORD
    if not path.is_file():
        return Record()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; delete it to start anew") from error


def save(root: Path, record: Record) -> None:
    """Whole or not at all."""
    write_atomic(root / RECORD, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def run(
    target: Target,
    steps: Sequence[Step],
    tools: dict[str, Tool],
    *,
    force: bool = False,
    limit_s: float = LIMIT_S,
    quiet: bool = False,
) -> Record:
    """Run steps in order; those that are done since the project last changed are skipped, unless `force`.

    What a step that runs again has made, and what later steps made of it, no longer counts as done.

    Raises:
        InputError: A step reads what another makes, and that is neither done nor asked for.
        CheckFailed: A step fails, passes its time limit, or leaves no report; with the first error of its log.
        KeyboardInterrupt: Interrupted; the tool and all that it started are stopped.
    """
    record, fingerprint = load(target.root), target.fingerprint()
    _forget(record, [n for n, done in record.steps.items() if _outdated(target.root, n, done, fingerprint)])
    _check_needs(steps, record)
    for step in steps:
        if step.name in record.steps and not force:
            continue
        _forget(record, [step.name])
        save(target.root, record)
        tool = tools[step.tool]
        seconds = _run_step(target, step, tool, limit_s, quiet=quiet)
        record.steps[step.name] = Done(seconds, tool.name, tool.version, fingerprint)
        save(target.root, record)
    return record


def _outdated(root: Path, name: str, done: Done, fingerprint: str) -> bool:
    return name not in STEPS or done.fingerprint != fingerprint or bool(STEPS[name].lacking(root))


def _forget(record: Record, names: Sequence[str]) -> None:
    """Drop steps, and those that read what they made."""
    for name in names:
        record.steps.pop(name, None)
        _forget(record, [s.name for s in STEPS.values() if s.needs == name and s.name in record.steps])


def _check_needs(steps: Sequence[Step], record: Record) -> None:
    there = {*record.steps, *(s.name for s in steps)}
    for step in steps:
        if step.needs and step.needs not in there:
            raise InputError(
                f"--steps {step.name}: reads what {step.needs} makes, which is not done for the project as it is; "
                f"give --steps {step.needs},{step.name}"
            )


def _run_step(target: Target, step: Step, tool: Tool, limit_s: float, *, quiet: bool) -> float:
    log = target.root / "logs" / f"{step.name}.log"
    log.parent.mkdir(exist_ok=True)
    started = time.time()
    code = _stream(tool.command(step.script), target.root, log, step.name, limit_s, quiet=quiet)
    seconds = time.time() - started
    stale = [p for p in step.products if not _fresh(target.root, p, started)]
    if code or stale:
        raise CheckFailed(_story(step, tool, log, code, stale))
    return seconds


def _fresh(root: Path, pattern: str, since: float) -> bool:
    """Whether the step made it: what an earlier run left does not count. File times may be whole seconds."""
    return any(p.stat().st_mtime >= since - 2 for p in root.glob(pattern))


def _story(step: Step, tool: Tool, log: Path, code: int, stale: list[str]) -> str:
    what = f"exit status {code}" if code else f"it made no {', '.join(stale)}, though its exit status is 0"
    return f"{step.name} failed ({tool.name} {tool.version}): {what}\n  {first_error(log)}\n  log: {log}"


def first_error(log: Path) -> str:
    """The first line that is an error, not a consequence of one."""
    with log.open(errors="replace") as lines:
        found = next((line.strip() for line in lines if _REAL_ERROR.match(line)), "")
    return found or "the log holds no line that starts with ERROR"


def _stream(command: list[str], folder: Path, log: Path, name: str, limit_s: float, *, quiet: bool) -> int:
    """Run a command in a process group of its own; its output goes to the log, its last line to the screen.

    The log is its standard output itself: no pipe, which a child that outlives the command would keep open.
    """
    deadline = time.monotonic() + limit_s
    with log.open("wb") as out, log.open("rb") as said, _shown(name, quiet=quiet) as show:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            while process.poll() is None and time.monotonic() < deadline:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(min(_LOOK_S, max(0.0, deadline - time.monotonic())))
                if lines := said.read().splitlines():
                    show(lines[-1].decode(errors="replace"))
            code = process.poll()
        finally:
            _stop(process)
    if code is None:
        raise CheckFailed(f"{name} took more than {limit_s:g} s and was stopped (--timeout-s); log: {log}")
    return code


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End every process of the group: asked first, then forced. None may survive the step that began it."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        if _ended(process, time.monotonic() + _GRACE_S):
            break
    process.wait()


def _ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Whether no process of the group is left by the deadline."""
    while time.monotonic() < deadline:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(_LOOK_S / 10)
    return False


@contextmanager
def _shown(name: str, *, quiet: bool) -> Iterator[Any]:
    """A line on the terminal: step, time, the tool's last words. Without a terminal, a line at its start and end."""
    console = Console(stderr=True)
    started = time.monotonic()
    if quiet or not console.is_terminal:
        if not quiet:
            console.print(f"{name} ...", highlight=False)
        yield lambda _line: None
        if not quiet:
            console.print(f"{name}: {time.monotonic() - started:.0f} s", highlight=False)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def show(line: str) -> None:
            passed = time.monotonic() - started
            live.update(Text(f"{name}  {passed:.0f} s  {line}", overflow="ellipsis", no_wrap=True))

        show("")
        yield show
    console.print(f"{name}: {time.monotonic() - started:.0f} s", highlight=False)
