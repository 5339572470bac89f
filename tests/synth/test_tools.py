"""Tools are found in every layout, the newest first; what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwq.errors import ToolMissing
from hwq.hardware import Backend
from hwq.synth import tools


def program(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n# stand-in\n")
    path.chmod(0o755)
    return path


def test_layouts_before_and_after_2025(tmp_path: Path) -> None:
    old = program(tmp_path / "Vitis_HLS/2022.2/bin", "vitis_hls")
    middle = program(tmp_path / "Vitis/2024.2/bin", "vitis-run")
    new = program(tmp_path / "2025.1/Vitis/bin", "vitis-run")
    assert [t.version for t in tools.find("vitis-run", {}, [tmp_path])] == ["2025.1", "2024.2"]
    assert tools.hls(Backend.VITIS, {}, [tmp_path]) == tools.Tool("vitis-run", str(new), "2025.1")
    new.unlink()
    middle.unlink()
    assert tools.hls(Backend.VITIS, {}, [tmp_path]) == tools.Tool("vitis_hls", str(old), "2022.2")


def test_commands() -> None:
    assert tools.Tool("vitis-run", "/x/vitis-run", "").command("a.tcl") == [
        "/x/vitis-run", "--mode", "hls", "--tcl", "a.tcl",
    ]  # fmt: skip
    assert tools.Tool("vitis_hls", "/x/vitis_hls", "").command("a.tcl") == ["/x/vitis_hls", "-f", "a.tcl"]
    assert tools.Tool("vivado", "/x/vivado", "").command("a.tcl")[1:3] == ["-mode", "batch"]


def test_variables_and_path(tmp_path: Path) -> None:
    program(tmp_path / "here/2023.2/bin", "vivado")
    on_path = program(tmp_path / "path", "vivado")
    environment = {"XILINX_VIVADO": str(tmp_path / "here/2023.2"), "PATH": str(on_path.parent)}
    found = tools.find("vivado", environment, [])
    assert [t.version for t in found] == ["", "2023.2"]
    assert tools.vivado(environment, []).path == str(on_path)


def test_vivado_hls_is_for_its_backend(tmp_path: Path) -> None:
    program(tmp_path / "Vivado/2020.1/bin", "vivado_hls")
    assert tools.hls(Backend.VIVADO, {}, [tmp_path]).version == "2020.1"
    with pytest.raises(
        ToolMissing,
        match=r"vitis-run and vitis_hls not found.*\n  .*vivado_hls is there, but runs projects of "
        r"--backend vivado, and this is one of vitis\n  cure: source settings64.sh",
    ):
        tools.hls(Backend.VITIS, {}, [tmp_path])


def test_what_cannot_be_executed_is_no_tool(tmp_path: Path) -> None:
    program(tmp_path / "Vivado/2023.1/bin", "vivado").chmod(0o644)
    with pytest.raises(
        ToolMissing, match=r"vivado not found(?s:.*)bin/vivado is there, but this user may not execute"
    ):
        tools.vivado({}, [tmp_path])


def test_a_variable_that_points_nowhere_is_said(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match=r"XILINX_VIVADO points to .*gone, which is no folder"):
        tools.vivado({"XILINX_VIVADO": str(tmp_path / "gone")}, [])
