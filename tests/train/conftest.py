from __future__ import annotations

import pytest

from hwq.train import TrainResult
from hwq.train.job import run_job


@pytest.fixture(scope="session")
def fast() -> tuple[str, ...]:
    """Overrides of digits-w2a2 that train in a second."""
    return ("train.epochs=2", "model.widths=[6, 8]", "train.learning_rate=0.02")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, fast: tuple[str, ...]) -> TrainResult:
    """Two epochs of a small digits network, as `hwq train` leaves them."""
    return run_job("digits-w2a2", tmp_path_factory.mktemp("trained") / "run", overrides=fast, quiet=True)
