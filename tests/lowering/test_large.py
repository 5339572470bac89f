"""Networks of the usual sizes are lowered in seconds, in memory that their weights explain."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from hwq.frontends import qonnx
from hwq.lowering.lower import lower
from tests.large_networks import mobilenet_v1, resnet18


@pytest.mark.parametrize("make", [resnet18, mobilenet_v1])
def test_large_networks_lower_in_seconds(make: Callable[[], onnx.ModelProto]) -> None:
    data = make().SerializeToString()
    start = time.process_time()
    lowering = lower(qonnx.parse(data, Path("large.onnx")))
    seconds = time.process_time() - start
    assert len(lowering.resolutions) > 20
    assert seconds < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 2**20  # KiB
