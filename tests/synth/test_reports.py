"""The parsers read the numbers that recorded reports hold, and refuse what is no report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwq.errors import InputError
from hwq.synth import reports

RECORDED = Path(__file__).parent / "reports"


def test_csynth() -> None:
    assert reports.csynth(RECORDED / "csynth.xml") == reports.Csynth(
        module="myproject",
        target_ns=5.0,
        estimated_ns=4.049,
        latency_min_cycles=10,
        latency_max_cycles=10,
        interval_min_cycles=8,
        interval_max_cycles=8,
        lut=2532,
        ff=7969,
        dsp=73,
        bram18=0,
        uram=0,
    )


def test_csynth_of_vitis_with_unknown_latency(tmp_path: Path) -> None:
    text = (RECORDED / "csynth.xml").read_text()
    path = tmp_path / "a.xml"
    path.write_text(
        text.replace("DSP48E", "DSP").replace("<Worst-caseLatency>10<", "<Worst-caseLatency>undef<")
    )
    made = reports.csynth(path)
    assert (made.dsp, made.latency_max_cycles) == (73, None)


def test_utilisation() -> None:
    made = reports.utilisation(RECORDED / "utilization_synth.rpt")
    assert made == reports.Utilisation("Synthesized", lut=1526, ff=2428, dsp=66, bram18=0, uram=0)


def test_utilisation_of_ultrascale_with_half_a_tile(tmp_path: Path) -> None:
    text = (RECORDED / "utilization_synth.rpt").read_text()
    text = text.replace("Slice LUTs*", "CLB LUTs*  ").replace("Slice Registers", "CLB Registers  ")
    text = text.replace("| Block RAM Tile |    0 |", "| Block RAM Tile |  2.5 |\n| URAM           |    3 |")
    (tmp_path / "u.rpt").write_text(text)
    made = reports.utilisation(tmp_path / "u.rpt")
    assert (made.lut, made.bram18, made.uram) == (1526, 5, 3)


def test_timing() -> None:
    made = reports.timing(RECORDED / "timing.rpt", 5.0)
    assert (made.met, made.wns_ns, made.tns_ns, made.whs_ns) == (True, 3.489, 0.0, 0.093)
    assert made.reached_ns == 5.0 - 3.489
    assert made.reached_mhz == 1000 / (5.0 - 3.489)


def test_timing_that_is_not_met(tmp_path: Path) -> None:
    text = (RECORDED / "timing.rpt").read_text().replace("      3.489 ", "     -0.511 ")
    (tmp_path / "t.rpt").write_text(text)
    made = reports.timing(tmp_path / "t.rpt", 5.0)
    assert not made.met
    assert made.reached_ns == 5.511


def test_power() -> None:
    assert reports.power(RECORDED / "power.rpt") == reports.Power(1.636, 1.495, 0.142, "Medium")


def test_cosim_of_one_transaction_has_no_interval() -> None:
    assert reports.cosim(RECORDED / "cosim.rpt") == reports.Cosim(True, 5676, None)


@pytest.mark.parametrize("total", [[], ["28380"]])
def test_cosim_of_several_transactions(total: list[str], tmp_path: Path) -> None:
    """The slowest of them counts; newer reports add how long all took."""
    cells = ("Verilog", "Pass", "5676", "5680", "5684", "5600", "5610", "5620", *total)
    lines = (RECORDED / "cosim.rpt").read_text().splitlines()
    (tmp_path / "c.rpt").write_text(
        "\n".join(f"|{'|'.join(cells)}|" if "Verilog" in line else line for line in lines)
    )
    assert reports.cosim(tmp_path / "c.rpt") == reports.Cosim(True, 5684, 5620)


def test_power_below_what_the_report_shows(tmp_path: Path) -> None:
    text = (RECORDED / "power.rpt").read_text()
    (tmp_path / "p.rpt").write_text(text.replace("1.495 ", "<0.001"))
    assert reports.power(tmp_path / "p.rpt").dynamic_w == 0.001


def test_a_failed_cosim() -> None:
    assert reports.cosim(RECORDED / "cosim_failed.rpt") == reports.Cosim(False, None, None)


PARSERS: dict[str, Callable[[Path], Any]] = {
    "csynth.xml": reports.csynth,
    "cosim.rpt": reports.cosim,
    "utilization_synth.rpt": reports.utilisation,
    "timing.rpt": lambda path: reports.timing(path, 5.0),
    "power.rpt": reports.power,
}


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_truncated_reports_are_refused(name: str, share: float, tmp_path: Path) -> None:
    text = (RECORDED / name).read_text()
    (tmp_path / name).write_text(text[: int(len(text) * share)])
    with pytest.raises(InputError, match=f"report .*{name}"):
        PARSERS[name](tmp_path / name)


@pytest.mark.parametrize("name", PARSERS)
def test_missing_and_foreign_reports_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing: run its step again"):
        PARSERS[name](tmp_path / name)
    (tmp_path / name).write_text("<html>not found</html>")
    with pytest.raises(InputError, match=name):
        PARSERS[name](tmp_path / name)


def test_entities_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text('<!DOCTYPE a [<!ENTITY b "b">]>' + (RECORDED / "csynth.xml").read_text())
    with pytest.raises(InputError, match="declares entities"):
        reports.csynth(path)


def test_an_unconstrained_design_is_refused(tmp_path: Path) -> None:
    text = (RECORDED / "timing.rpt").read_text().replace("      3.489 ", "         NA ")
    (tmp_path / "t.rpt").write_text(text)
    with pytest.raises(InputError, match="no path is constrained"):
        reports.timing(tmp_path / "t.rpt", 5.0)
