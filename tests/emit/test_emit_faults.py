"""The testbench fails when the data or the C++ is wrong, and says where."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwq.emit import csim
from hwq.emit.testbench import input_files, make_golden, rows_text
from hwq.errors import CheckFailed, InputError, ToolMissing
from hwq.sim import reference
from tests.emit.emit_graphs import dense_net

Copy = Callable[[Path], Path]


def status(project: Path, *options: str) -> int:
    return subprocess.run(["build/csim", *options], cwd=project, capture_output=True, check=False).returncode


def test_untouched_project_passes(dense_project: Path, dense_stream_project: Path) -> None:
    for project in (dense_project, dense_stream_project):
        result = csim.run(project)
        assert result.ok
        assert result.rows > 16
        assert status(project) == 0


@pytest.mark.parametrize("kind", ["dense_project", "dense_stream_project"])
def test_corrupted_golden_row_is_found(kind: str, copy_of: Copy, request: pytest.FixtureRequest) -> None:
    project = copy_of(request.getfixturevalue(kind))
    golden = project / "tb_data" / "golden_0.dat"
    rows = golden.read_text().splitlines()
    first, *rest = rows[5].split()
    rows[5] = " ".join([str(int(first) + 1), *rest])
    golden.write_text("\n".join(rows) + "\n")
    assert status(project) == 1
    result = csim.run(project)
    assert not result.ok
    assert f"row 5, output 0: word 0 is {first}, want {int(first) + 1}" in result.message
    with pytest.raises(CheckFailed, match="csim differs from the integer graph"):
        result.raise_if_failed()


def test_every_flipped_weight_is_found(dense_project: Path, copy_of: Copy) -> None:
    project = copy_of(dense_project)
    missed = []
    for file in sorted((project / "firmware" / "weights").glob("w*.txt")):
        text = file.read_text()
        values = text.split(",")
        for i, value in enumerate(values):
            flipped = "0" if float(value) else "1"
            file.write_text(",".join([*values[:i], flipped, *values[i + 1 :]]))
            if status(project) != 1:
                missed.append((file.name, i))
        file.write_text(text)
    assert status(project) == 0
    assert not missed


def test_flipped_threshold_is_found(dense_project: Path, copy_of: Copy) -> None:
    project = copy_of(dense_project)
    (file,) = (project / "firmware" / "weights").glob("thresholds*.txt")
    values = file.read_text().split(",")
    values[4] = str(float(values[4]) + 3)
    file.write_text(",".join(values))
    assert status(project) == 1


@pytest.mark.parametrize("kind", ["dense_project", "dense_stream_project"])
def test_accumulator_one_bit_too_narrow_is_found_by_the_extremes_only(
    kind: str, copy_of: Copy, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    project = copy_of(request.getfixturevalue(kind))
    defines = project / "firmware" / "defines.h"
    bits = dense_net().tensors[dense_net().nodes[0].output].type.bits
    pattern = rf"ap_fixed<{bits},{bits}>(.* (?:l0_net_dense0_accum_t|layer2_t);)"
    narrowed, count = re.subn(pattern, rf"ap_fixed<{bits - 1},{bits - 1}>\1", defines.read_text())
    assert count == 2
    defines.write_text(narrowed)
    result = csim.run(project)
    assert "FAILED" in result.message

    random = {"x0": np.random.default_rng(1).integers(-8, 8, (300, 40))}
    want = reference.run(dense_net(), random)[dense_net().outputs[0].tensor]
    data = tmp_path / "random"
    data.mkdir()
    (data / "golden_0.dat").write_text(rows_text(want))
    (data / "in_0.dat").write_bytes(input_files(dense_net(), random)["in_0.dat"])
    assert csim.run(project, data).ok, "300 random rows do not see it: why the golden rows hold the extremes"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: (p / "golden_0.dat").unlink(), "cannot read tb_data/golden_0.dat"),
        (lambda p: (p / "in_0.dat").write_text(""), "holds no row"),
        (lambda p: (p / "in_0.dat").write_text("1 2 3\n"), "row 0: 3 integers, want 40"),
        (lambda p: (p / "in_0.dat").write_text("1 2 3 4 5 6 7 8 9 x\n"), "row 0: 9 integers, want 40"),
        (
            lambda p: [_cut(p / name) for name in ("in_0.dat", "golden_0.dat", "golden_layers.dat")],
            "rows, want",
        ),
        (lambda p: _cut(p / "in_0.dat"), "rows, want"),
        (lambda p: (p / "in_0.dat").write_text(_all_rows("999")), "999 does not fit its port"),
    ],
)
def test_unusable_data_is_status_2(
    damage: Callable[[Path], object], said: str, dense_project: Path, copy_of: Copy
) -> None:
    project = copy_of(dense_project)
    damage(project / "tb_data")
    assert status(project) == 2
    assert said in csim.run(project).message


def _cut(file: Path) -> int:
    return file.write_text("".join(line + "\n" for line in file.read_text().splitlines()[:-1]))


def _all_rows(code: str) -> str:
    rows = make_golden(dense_net()).rows
    return (" ".join([code] * 40) + "\n") * rows


def test_missing_weights_are_reported(dense_project: Path, copy_of: Copy) -> None:
    project = copy_of(dense_project)
    next((project / "firmware" / "weights").glob("w*.txt")).unlink()
    result = csim.run(project)
    assert not result.ok
    assert "does not exist" in result.message


def test_unknown_option_is_status_2(dense_project: Path) -> None:
    assert status(dense_project, "--frobnicate") == 2


def test_leftover_data_in_a_stream_is_found(dense_stream_project: Path, copy_of: Copy) -> None:
    project = copy_of(dense_stream_project)
    (top,) = (project / "firmware").glob("hwq_*.cpp")
    call = re.search(r"nnet::dense<[^\n]*l2_net[^\n]*", top.read_text())
    assert call
    top.write_text(top.read_text().replace(call.group(0), ""))
    result = csim.run(project)
    assert not result.ok
    assert "layer l2_net_dense2: differs" in result.message
    assert "WARNING: Hls::stream" in result.message


def test_code_that_does_not_compile_is_reported(dense_project: Path, copy_of: Copy) -> None:
    project = copy_of(dense_project)
    (project / "firmware" / "defines.h").write_text("#error broken\n")
    with pytest.raises(CheckFailed, match=r"g\+\+ does not compile"):
        csim.build(project)


def test_missing_compiler_is_named(
    dense_project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"g\+\+, which is not on PATH.*apt install g\+\+"):
        csim.build(dense_project)


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not an hwq project .* hwq generate"):
        csim.build(tmp_path)


def test_a_run_has_a_time_limit(dense_project: Path, copy_of: Copy) -> None:
    project = copy_of(dense_project)
    (project / "build" / "csim").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(CheckFailed, match=r"ran longer than 0.2 s"):
        csim.run(project, timeout_s=0.2)


def test_traces_come_even_when_rows_differ(dense_project: Path, copy_of: Copy) -> None:
    project = copy_of(dense_project)
    weights = project / "firmware" / "weights" / "w2.txt"
    weights.write_text("1," + weights.read_text().split(",", 1)[1])
    result = csim.run(project, trace=True)
    assert not result.ok
    golden = make_golden(dense_net())
    equal = {name: np.array_equal(array, golden.tensors[name]) for name, array in result.traces.items()}
    assert not equal["dense0"]
    assert "layer l0_net_dense0: differs" in result.message


def test_codes_are_checked(dense_project: Path) -> None:
    for bad in (np.full((2, 40), 8), np.zeros((2, 9), dtype=int)):
        with pytest.raises(InputError, match="codes for input 'x0'"):
            csim.run_codes(dense_project, dense_net(), {"x0": bad})
