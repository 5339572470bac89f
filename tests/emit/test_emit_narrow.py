"""Every kind of layer with one bit too few in what it sums is seen by the golden rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwq.emit import csim, generate
from hwq.emit.plan import Plan, PlannedLayer, make_plan
from hwq.emit.testbench import golden_inputs
from hwq.hardware import Io
from hwq.ir import Graph
from hwq.sim import reference
from tests.emit.emit_graphs import all_ops, config, more_ops

SUMS = {"dense", "conv", "add", "mul", "matmul", "sum_pool", "global_sum"}
SCALED = {"requant"}


def narrowed(plan: Plan, graph: Graph, defines: str, parameters: str) -> tuple[str, str, list[PlannedLayer]]:
    """With one bit fewer for the result and accumulator of sums, and for the intermediate of requantisations."""
    inputs = {p.tensor for p in graph.inputs}
    changed = []
    for number, layer in enumerate(plan.layers, start=1):
        if layer.node is None or layer.tensor is None or not set(layer.node.inputs) <= inputs:
            continue
        if layer.node.op in SUMS and layer.layer.types["result"].bits > 1:
            names = rf"layer{number}_t|{layer.name}_accum_t"
            defines, count = re.subn(
                rf"(ap_u?fixed<)(\d+),\d+(>.* (?:{names});)", _one_less, defines, flags=re.MULTILINE
            )
        elif layer.node.op in SCALED:
            pattern = rf"(struct config{number} .*?typedef ap_int<)(\d+)(> wide_t;)"
            parameters, count = re.subn(pattern, _one_less_of_int, parameters, flags=re.DOTALL)
        else:
            continue
        assert count, layer.name
        changed.append(layer)
    return defines, parameters, changed


def _one_less(found: re.Match[str]) -> str:
    bits = int(found[2]) - 1
    return f"{found[1]}{bits},{bits}{found[3]}"


def _one_less_of_int(found: re.Match[str]) -> str:
    return f"{found[1]}{int(found[2]) - 1}{found[3]}"


@pytest.mark.slow
@pytest.mark.parametrize("io", Io)
@pytest.mark.parametrize("net", [all_ops, more_ops])
def test_one_bit_less_is_seen_in_every_layer(net: Callable[[], Graph], io: Io, tmp_path: Path) -> None:
    graph = net()
    hardware = config(graph, io)
    generate(graph, hardware).write(tmp_path / "p")
    firmware = tmp_path / "p" / "firmware"
    texts = [(firmware / name).read_text() for name in ("defines.h", "parameters.h")]
    defines, parameters, changed = narrowed(make_plan(graph, hardware), graph, *texts)
    (firmware / "defines.h").write_text(defines)
    (firmware / "parameters.h").write_text(parameters)
    codes = golden_inputs(graph)
    made = csim.run_codes(tmp_path / "p", graph, codes)
    want = reference.run(graph, codes)
    unseen = [p.name for p in changed if p.tensor and np.array_equal(made[p.tensor], want[p.tensor])]
    assert {p.node.op for p in changed if p.node} >= (SUMS | SCALED) & {n.op for n in graph.nodes}
    assert not unseen
