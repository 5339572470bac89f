"""`hwq bench train-speed`: each way really trains, and the table says which is too slow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hwq.bench import train_speed
from hwq.cli import app
from hwq.errors import CheckFailed


def mnist(folder: Path, rows: int = 600) -> Path:
    """As many random images."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (rows, 28, 28), np.uint8), rng.integers(0, 10, rows)
    np.savez(folder / "mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return folder


@pytest.mark.slow
def test_every_way_trains(tmp_path: Path) -> None:
    found = train_speed.bench(tmp_path, data=mnist(tmp_path), rounds=1, epochs=1, quiet=True)
    assert len(found["ways"]) == 4
    assert all(0 <= way["accuracy"] <= 1 and way["busy"] > 0.3 for way in found["ways"].values())
    assert json.loads((tmp_path / "bench-train-speed.json").read_text()) == found
    assert (tmp_path / "bench-train-speed.md").read_text() == train_speed.markdown(found)


def test_the_table_says_what_is_too_slow() -> None:
    ways = {
        name: {"seconds": seconds, "busy": 1.0, "accuracy": 0.5}
        for name, seconds in (("plain Brevitas, JIT", 10.0), ("hwq train", 12.9), ("slow", 13.2))
    }
    about = dict.fromkeys(("hwq", "machine", "cores", "torch", "brevitas", "epochs", "rounds"), "1")
    rows = train_speed.markdown({**about, "ways": ways}).splitlines()[-2:]
    assert rows == [
        "| hwq train | 12.9 | 1.29 | 1.00 | 50.00 |",
        "| slow | 13.2 | 1.32, missed | 1.00 | 50.00 |",
    ]


def test_what_fails_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "mnist.npz").write_bytes(b"no archive")
    with pytest.raises(CheckFailed, match=r"(?s)plain Brevitas, JIT failed:.*mnist\.npz"):
        train_speed.bench(tmp_path / "out", data=tmp_path, rounds=1, quiet=True)
    assert not (tmp_path / "out").exists()


def test_without_mnist_the_folder_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "train-speed", "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "mnist.npz is not there" in " ".join(done.output.split())
