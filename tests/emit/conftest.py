"""Written projects, each made and compiled once a test module."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hwq.emit import csim, generate
from hwq.hardware import Io
from tests.emit.emit_graphs import config, dense_net


@pytest.fixture(scope="module")
def dense_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled io_parallel project of the smallest network; do not change it."""
    return _project(tmp_path_factory, Io.PARALLEL)


@pytest.fixture(scope="module")
def dense_stream_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in io_stream."""
    return _project(tmp_path_factory, Io.STREAM)


def _project(factory: pytest.TempPathFactory, io: Io) -> Path:
    folder = factory.mktemp("project") / io.value
    generate(dense_net(), config(dense_net(), io)).write(folder)
    csim.build(folder)
    return folder


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy to damage, with its time stamps."""

    def copy(project: Path) -> Path:
        return Path(shutil.copytree(project, tmp_path / "copy"))

    return copy
