from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hwq.train import TrainResult
from hwq.train.data.dataset import Dataset, Inputs, Labels
from hwq.train.job import run_job
from hwq.train.recipe import Recipe, load_recipe


@pytest.fixture(scope="session")
def fast() -> tuple[str, ...]:
    """Overrides of digits-w2a2 that train in a second."""
    return ("train.epochs=2", "model.widths=[6, 8]", "train.learning_rate=0.02")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, fast: tuple[str, ...]) -> TrainResult:
    """Two epochs of a small digits network, as `hwq train` leaves them."""
    return run_job("digits-w2a2", tmp_path_factory.mktemp("trained") / "run", overrides=fast, quiet=True)


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """Three classes of 4×4 images that a small network tells apart in a few epochs."""
    generator = np.random.default_rng(0)

    def part(rows: int) -> tuple[Inputs, Labels]:
        y = np.arange(rows) % 3
        x = (
            generator.integers(0, 8, (rows, 1, 4, 4))
            + 8 * (np.arange(16).reshape(4, 4) % 3 == y[:, None, None])[:, None]
        )
        return (x / 16).astype(np.float32), y.astype(np.int64)

    return Dataset("tiny", *part(48), *part(24), *part(24), classes=3)


TINY = ("model.widths=[8, 8]", "train.epochs=3", "train.batch_size=8", "data.shift=1")


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Recipe]:
    """A recipe for `tiny`, with overrides."""
    return lambda *overrides: load_recipe("digits-mlp-w2a2", [*TINY, *overrides])
