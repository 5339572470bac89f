"""The overlay's Tcl under tclsh: a block design kept by stubs, checked pin by pin; no vendor tool."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hwq.emit import generate
from hwq.hardware import Io
from hwq.ir import Graph
from tests.emit.emit_graphs import config, dense_net, mixed_net
from tests.emit.test_emit_scripts import HLS, needs_tclsh, run_tcl

STUBS = """
proc say {args} {puts [join $args "|"]}
foreach name {create_project update_ip_catalog create_bd_design apply_bd_automation set_property
        connect_bd_net connect_bd_intf_net assign_bd_address validate_bd_design save_bd_design make_wrapper
        launch_runs wait_on_run open_run report_utilization report_timing_summary} {
    proc $name {args} "say $name {*}\\$args"
}
foreach name {get_bd_pins get_bd_intf_pins get_files get_runs} {proc $name {what} {return $what}}
foreach name {current_project current_fileset} {proc $name {} "return $name"}
proc create_bd_cell {type ip vlnv name cell} {say create_bd_cell $name $cell; return $cell}
proc get_property {name run} {dict get {PROGRESS %s STATS.WNS %s} $name}
source [lindex $argv 0]
"""
CLOCK_PINS = {
    "axi_dma": {"s_axi_lite_aclk"},
    "smartconnect": {"aclk"},
    "proc_sys_reset": {"slowest_sync_clk"},
}
RESET_PINS = {"axi_dma": {"axi_resetn"}, "smartconnect": {"aresetn"}, "proc_sys_reset": set[str]()}


@dataclass
class Design:
    """What the stubs were told."""

    cells: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    interfaces: list[tuple[str, str]] = field(default_factory=list)
    nets: list[tuple[str, str]] = field(default_factory=list)

    def driven_by(self, source: str) -> set[str]:
        """Pins on a net."""
        return {to for start, to in self.nets if start == source}


def read(lines: list[str]) -> Design:
    design = Design()
    for command, *words in (line.split("|") for line in lines):
        if command == "create_bd_cell":
            design.cells[words[1]] = words[0].split(":")[2]
        elif command == "set_property" and words[0] == "-dict":
            pairs = words[1].split()
            design.settings[words[2]] = dict(zip(pairs[::2], pairs[1::2], strict=True))
        elif command == "connect_bd_intf_net":
            design.interfaces.append((words[0], words[1]))
        elif command == "connect_bd_net":
            design.nets.append((words[0], words[1]))
    return design


def project(graph: Graph, folder: Path, *, exported: bool = True) -> Path:
    generate(graph, config(graph, Io.STREAM), overlay=True).write(folder)
    if exported:
        (folder / "hls_prj_axi/solution1/impl/ip").mkdir(parents=True)
    return folder


def implement(
    folder: Path, progress: str = "100%", slack: str = "0.25", gen: str = "gen"
) -> subprocess.CompletedProcess[str]:
    handoff = folder / f"vivado_overlay/overlay.{gen}/sources_1/bd/overlay/hw_handoff"
    handoff.mkdir(parents=True, exist_ok=True)
    (handoff / "overlay.hwh").write_text("hwh")
    run = folder / "vivado_overlay/overlay.runs/impl_1"
    run.mkdir(parents=True, exist_ok=True)
    (run / "overlay_wrapper.bit").write_text("bit")
    stubs = folder / "stubs.tcl"
    stubs.write_text(STUBS % (progress, slack))
    command = ["tclsh", str(stubs), str(folder / "scripts" / "overlay.tcl")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@needs_tclsh
def test_the_wrapper_is_synthesised_and_exported(tmp_path: Path) -> None:
    folder = project(mixed_net(), tmp_path / "p")
    done = run_tcl(folder, "overlay_hls.tcl", HLS, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "set_top hwq_2_inputs_axi" in lines
    assert "create_clock -period 10 -name default" in lines
    assert lines[-2:] == [
        "csynth_design",
        "export_design -format ip_catalog -vendor hwq -library hls -version 1.0 -ipname hwq_2_inputs_axi",
    ]
    (folder / "hwq_2_inputs_axi.cpp").unlink()
    assert "no file hwq_2_inputs_axi.cpp" in run_tcl(folder, "overlay_hls.tcl", HLS, tmp_path).stderr


@needs_tclsh
@pytest.mark.parametrize(
    ("graph", "inputs", "outputs"), [(dense_net(), 1, 1), (mixed_net(), 2, 3)], ids=["1-1", "2-3"]
)
def test_every_port_of_the_block_design_is_connected_once(
    graph: Graph, inputs: int, outputs: int, tmp_path: Path
) -> None:
    done = implement(project(graph, tmp_path / "p"))
    assert done.returncode == 0, done.stderr
    design = read(done.stdout.splitlines())
    dmas = [f"dma_{i}" for i in range(max(inputs, outputs))]
    assert sorted(n for n, kind in design.cells.items() if kind == "axi_dma") == dmas
    ends = [pin for pair in design.interfaces for pin in pair]
    assert len(ends) == len(set(ends))
    assert {pin.split("/")[0] for pin in ends} <= set(design.cells)
    streams = {(f"dma_{i}/M_AXIS_MM2S", f"net/in_{i}") for i in range(inputs)}
    streams |= {(f"net/out_{i}", f"dma_{i}/S_AXIS_S2MM") for i in range(outputs)}
    assert {p for p in design.interfaces if "AXIS" in "".join(p)} == streams
    assert {f"ps/S_AXI_HP{i}" for i in range(len(dmas))} <= set(ends)
    assert {("ps/M_AXI_GP0", "control/S00_AXI"), ("control/M00_AXI", "net/s_axi_control")} <= set(
        design.interfaces
    )
    for name, kind in design.cells.items():
        if kind == "smartconnect":
            slaves = {p for p in ends if p.startswith(f"{name}/S")}
            masters = {p for p in ends if p.startswith(f"{name}/M")}
            about = design.settings[name]
            assert slaves == {f"{name}/S{i:02}_AXI" for i in range(int(about["CONFIG.NUM_SI"]))}
            assert masters == {f"{name}/M{i:02}_AXI" for i in range(int(about["CONFIG.NUM_MI"]))}


@needs_tclsh
@pytest.mark.parametrize(
    ("graph", "inputs", "outputs"), [(dense_net(), 1, 1), (mixed_net(), 2, 3)], ids=["1-1", "2-3"]
)
def test_every_cell_has_the_clock_and_the_reset(
    graph: Graph, inputs: int, outputs: int, tmp_path: Path
) -> None:
    design = read(implement(project(graph, tmp_path / "p")).stdout.splitlines())
    clocks, resets = {"net/ap_clk", "ps/M_AXI_GP0_ACLK"}, {"net/ap_rst_n"}
    for name, kind in design.cells.items():
        clocks |= {f"{name}/{pin}" for pin in CLOCK_PINS.get(kind, ())}
        resets |= {f"{name}/{pin}" for pin in RESET_PINS.get(kind, ())}
    clocks |= {f"dma_{i}/m_axi_mm2s_aclk" for i in range(inputs)}
    clocks |= {f"dma_{i}/m_axi_s2mm_aclk" for i in range(outputs)}
    clocks |= {f"ps/S_AXI_HP{i}_ACLK" for i in range(max(inputs, outputs))}
    assert design.driven_by("ps/FCLK_CLK0") == clocks
    assert design.driven_by("reset/peripheral_aresetn") == resets
    assert design.driven_by("ps/FCLK_RESET0_N") == {"reset/ext_reset_in"}
    assert len(design.nets) == len({to for _, to in design.nets})
    assert design.settings["ps"]["CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ"] == "100.0"
    for i in range(max(inputs, outputs)):
        dma = design.settings[f"dma_{i}"]
        assert dma["CONFIG.c_include_sg"] == "0"
        assert dma["CONFIG.c_sg_length_width"] == "26"
        assert dma["CONFIG.c_include_mm2s"] == str(int(i < inputs))
        assert dma["CONFIG.c_include_s2mm"] == str(int(i < outputs))
        assert design.settings["ps"][f"CONFIG.PCW_USE_S_AXI_HP{i}"] == "1"


@needs_tclsh
@pytest.mark.parametrize("gen", ["gen", "srcs"])
def test_bitstream_and_description_are_copied(gen: str, tmp_path: Path) -> None:
    folder = project(dense_net(), tmp_path / "p")
    done = implement(folder, gen=gen)
    assert done.returncode == 0, done.stderr
    assert (folder / "overlay/hwq_dense_net.bit").read_text() == "bit"
    assert (folder / "overlay/hwq_dense_net.hwh").read_text() == "hwh"
    assert "set_property|top|overlay_wrapper|current_fileset" in done.stdout


@needs_tclsh
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"slack": "-0.5"}, r"the clock of 10 ns is missed by 0.5 ns: generate with a longer --clock-ns"),
        ({"progress": "40%"}, r"implementation failed"),
    ],
)
def test_no_bitstream_of_a_failed_implementation(options: dict[str, str], says: str, tmp_path: Path) -> None:
    folder = project(dense_net(), tmp_path / "p")
    done = implement(folder, **options)
    assert done.returncode == 1
    assert re.search(says, done.stdout)
    assert not list(folder.glob("overlay/*.bit"))


@needs_tclsh
def test_overlay_before_synthesis_and_a_misspelt_command_fail(tmp_path: Path) -> None:
    folder = project(dense_net(), tmp_path / "p", exported=False)
    done = implement(folder)
    assert done.returncode == 1
    assert "run 'make overlay_hls' first" in done.stdout
    (folder / "hls_prj_axi/solution1/impl/ip").mkdir(parents=True)
    script = folder / "scripts/overlay.tcl"
    script.write_text(script.read_text().replace("validate_bd_design", "validate_bd_desing"))
    done = implement(folder)
    assert done.returncode != 0
    assert 'invalid command name "validate_bd_desing"' in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_overlay_ends_with_all_that_the_board_needs(tmp_path: Path) -> None:
    folder = project(dense_net(), tmp_path / "p")
    command = ["make", "--no-print-directory", "-n", "overlay"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    steps = done.stdout.splitlines()
    assert [s.rsplit("/", 1)[-1] for s in steps[:2]] == ["overlay_hls.tcl", "overlay.tcl"]
    assert steps[2] == "cp driver/hwq_driver.py driver/overlay.json overlay/"
