"""`hwq bench train`: what is run after what, what is kept, and what the table may say."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hwq.bench import train, train_table, train_worker
from hwq.bench.train_experiments import COMPARISONS, EXPERIMENTS, GOALS, TASKS, Comparison, Goal
from hwq.bench.train_plan import Experiment, Job, Task, choose, data_settings, plan, run_key
from hwq.bench.train_table import best, difference, judge
from hwq.cli import app
from hwq.errors import CheckFailed, InputError
from hwq.train import checkpoint

_SMALL = ("train.epochs=1", "model.widths=[6, 6]")
_TASKS = {
    "digits": Task("digits", "digits-mlp-w2a2", settings=_SMALL),
    "letter": Task("letter", "letter-w2a2", "l.data"),
}
_DIGITS = (
    Experiment("digits", "float", ("quantize=none",)),
    Experiment("digits", "taught", ("distill.teacher=<float>",)),
    Experiment("letter", "w2a2"),
)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Workers run in this process; names of what ran."""
    seen: list[str] = []

    def launch(job: Job, what: str, *_: Any) -> None:
        seen.append(f"{what} {job.name}")
        request = {"recipe": job.recipe, "settings": job.settings, "folder": str(job.folder), "key": job.key}
        getattr(train_worker, what)(request)

    monkeypatch.setattr(train, "_launch", launch)
    monkeypatch.setattr(train, "EXPERIMENTS", _DIGITS)
    monkeypatch.setattr(train, "TASKS", _TASKS)
    return seen


def test_runs_are_kept_and_reported(
    tmp_path: Path, launched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_table, "GOALS", (Goal("taught", "digits", ("taught",), at_least=0.0),))
    command = ["bench", "train", "--seeds", "1", "--workers", "1", "--data", str(tmp_path), "--quiet"]
    command += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert launched == [
        "train digits/float seed 0",
        "train digits/taught seed 0",
    ]
    result = json.loads((tmp_path / "out" / "bench-train.json").read_text())
    plain, taught = result["runs"]
    assert plain["integers"] is None
    assert taught["recipe"]["distill"]["teacher"] == "best.pt"
    assert "distill.teacher=<float>" in taught["settings"]
    assert taught["integers"]["verified"]["torch"]["rows"] > 128
    assert taught["integers"]["correct"] > 50
    assert taught["integers"]["macs"] == 64 * 6 + 6 * 6 + 6 * 10
    text = (tmp_path / "out" / "bench-train.md").read_text()
    assert f"Left out: letter, since {tmp_path}/l.data is not there." in text
    assert "| taught | ≥ 0 % | taught |" in text
    assert "<svg" in (tmp_path / "out" / "bench-train.svg").read_text()
    launched.clear()
    again = CliRunner().invoke(app, [*command, "--only", "digits/tau*"])
    assert again.exit_code == 0, again.output
    assert launched == []
    assert json.loads((tmp_path / "out" / "bench-train.json").read_text())["runs"] == result["runs"]


@pytest.mark.slow
def test_processes_that_are_interrupted_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = (Experiment("digits", "long", ("train.epochs=300",)),)
    monkeypatch.setattr(train, "EXPERIMENTS", wanted)
    monkeypatch.setattr(train, "TASKS", _TASKS)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    begun = threading.Thread(target=_interrupt_when, args=(tmp_path / "runs",))
    begun.start()
    with pytest.raises(KeyboardInterrupt):
        train.bench(tmp_path, data=tmp_path, kept=tmp_path / "runs", seeds=1, quiet=True)
    begun.join()
    signal.signal(signal.SIGINT, before)
    (last,) = (tmp_path / "runs").glob("*/*/checkpoints/last.pt")
    assert 0 < checkpoint.read(last)[0]["epoch"] < 300
    result = train.bench(tmp_path, data=tmp_path, kept=tmp_path / "runs", seeds=1, csim=True, quiet=True)
    (run,) = result["runs"]
    assert run["integers"]["correct"] > 200
    assert all(stage["rows"] > 128 for stage in run["csim"].values())
    assert "| 300 |" in (tmp_path / "bench-train.md").read_text()


def _interrupt_when(runs: Path) -> None:
    """Ctrl-C once a checkpoint has some epochs."""
    while not any(checkpoint.read(path)[0]["epoch"] > 3 for path in runs.glob("*/*/checkpoints/last.pt")):
        time.sleep(0.1)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_a_failed_run_stops_only_what_starts_from_it(
    tmp_path: Path, launched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(job: Job, what: str, *_: Any) -> None:
        launched.append(f"{what} {job.name}")
        raise CheckFailed("no luck")

    monkeypatch.setattr(train, "_launch", launch)
    with pytest.raises(CheckFailed, match="4 of 4 runs failed") as error:
        train.bench(tmp_path, data=tmp_path, kept=tmp_path / "runs", only=["digits"], seeds=2, quiet=True)
    assert "digits/float seed 1: no luck" in str(error.value)
    assert "digits/taught seed 0: starts from digits/float seed 0" in str(error.value)
    assert launched == ["train digits/float seed 0", "train digits/float seed 1"]
    assert "Failed: digits/taught seed 1." in (tmp_path / "bench-train.md").read_text()


def test_a_part_takes_what_it_starts_from() -> None:
    assert [e.method for e in choose(_DIGITS, ["digits/taught"], _TASKS)] == ["float", "taught"]
    assert [e.method for e in choose(_DIGITS, ["letter"], _TASKS)] == ["w2a2"]
    with pytest.raises(InputError, match=r"no experiment matches 'leter'.*tasks: digits, letter"):
        choose(_DIGITS, ["leter"], _TASKS)


def test_the_key_is_of_the_settings_and_not_of_folders(tmp_path: Path) -> None:
    def keys(folder: str) -> list[str]:
        jobs, _ = plan(_DIGITS, _TASKS, tmp_path, tmp_path / folder, 2)
        return [job.key for job in jobs]

    assert keys("a") == keys("b")
    assert len(set(keys("a"))) == 4
    one = run_key("digits-w2a2", ["distill.teacher=<float>"], {"float": "1"})
    assert one != run_key("digits-w2a2", ["distill.teacher=<float>"], {"float": "2"})
    assert run_key("digits-w2a2", ["data.path=/a/x"], {}) == run_key("digits-w2a2", ["data.path=/b/x"], {})
    assert run_key("digits-w2a2", ["train.epochs=3"], {}) != run_key("digits-w2a2", ["train.epochs=4"], {})


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("T,2,8\nI,5,12\n", ("data.label=first", "data.delimiter=comma", "data.header=false")),
        ("2 8 T\n5 12 I\n", ("data.label=last", "data.delimiter=space", "data.header=false")),
        ("0,1,2\n2.5,-1,g\n", ("data.label=last", "data.delimiter=comma", "data.header=true")),
    ],
)
def test_copies_of_a_table_are_told_apart(tmp_path: Path, text: str, settings: tuple[str, ...]) -> None:
    (tmp_path / "x.data").write_text(text)
    assert data_settings(tmp_path / "x.data") == settings


def test_noise_gives_no_verdict() -> None:
    assert judge(*difference([0.80, 0.84, 0.82], [0.81, 0.85, 0.83])) == "within noise"
    assert judge(*difference([0.80, 0.81, 0.82], [0.90, 0.91, 0.92])) == "better"
    assert judge(*difference([0.90, 0.91, 0.92], [0.80, 0.81, 0.82])) == "worse"
    assert judge(*difference([0.9], [0.8])) == "one seed: no verdict"


def _run(method: str, validation: float, correct: int, seed: int = 0) -> dict[str, Any]:
    recipe = {"train": {"epochs": 1}}
    return {
        "task": "t", "method": method, "seed": seed, "validation_accuracy": validation, "test_correct": correct,
        "test_total": 100, "integers": None, "csim": None, "seconds": 1.0, "recipe": recipe,
    }  # fmt: skip


def test_the_best_is_chosen_without_test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [_run("float", 0.99, 95), _run("a", 0.9, 80), _run("b", 0.8, 90)]
    table = train_table.rows({"runs": runs})
    goal = Goal("a or b", "t", ("a", "b"), within=10)
    chosen = best(goal, table)
    assert chosen is not None
    assert chosen.method == "a"
    monkeypatch.setattr(train_table, "GOALS", (goal,))
    assert "| a | missed: 15.00 points under (80.00) |" in train_table._goals(table)[4]


def test_a_comparison_says_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [_run(m, 0.9, c + s, s) for m, c in (("a", 50), ("b", 70), ("c", 51)) for s in range(3)]
    monkeypatch.setattr(train_table, "COMPARISONS", (Comparison("All", "t", ("a", "b", "c", "d")),))
    text = "\n".join(train_table._comparisons(train_table.rows({"runs": runs})))
    assert "| b | 71.00 ± 1.00 | +20.00 ± 2.27 | better |" in text
    assert "| c | 52.00 ± 1.00 | +1.00 ± 2.27 | within noise |" in text
    assert "1 of 2 differences are larger than their noise" in text


def test_every_experiment_has_a_recipe_that_reads(tmp_path: Path) -> None:
    names = [e.name for e in EXPERIMENTS]
    assert len(set(names)) == len(names)
    for task in TASKS.values():
        if task.file:
            (tmp_path / task.file).write_text("1 2 A\n3 4 B\n")
    jobs, left_out = plan(choose(EXPERIMENTS, [], TASKS), TASKS, tmp_path, tmp_path, 1)
    assert not left_out
    assert len({job.key for job in jobs}) == len(names)
    assert all("<" not in setting for job in jobs for setting in job.settings)
    known = {(e.task, e.method) for e in EXPERIMENTS}
    assert all((c.task, m) in known for c in COMPARISONS for m in c.methods)
    assert all((g.task, g.reference) in known for g in GOALS if g.within is not None)


def test_a_report_has_no_folders_of_the_machine_in_it() -> None:
    record = {"recipe": {"data": {"path": "/a/b/mnist.npz"}, "names": ["/c/d", "e/f", "+"]}, "seed": 1}
    assert train._without_folders(record) == {
        "recipe": {"data": {"path": "mnist.npz"}, "names": ["d", "e/f", "+"]},
        "seed": 1,
    }
