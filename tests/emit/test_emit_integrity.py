"""`hwq verify PROJECT` finds every file that was touched, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwq.cli import app
from hwq.emit import integrity
from hwq.errors import CheckFailed, InputError


@pytest.fixture
def project(dense_project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dense_project, tmp_path / "p", ignore=shutil.ignore_patterns("build")))


def test_an_untouched_project_passes_also_with_its_products(project: Path) -> None:
    assert integrity.check(project).ok
    for name in ("build", "hls_prj/solution1", "impl", "logs", "overlay"):
        (project / name).mkdir(parents=True)
        (project / name / "made").write_text("x")
    for name in ("synth.json", "vitis_hls.log", "vivado.jou"):
        (project / name).write_text("x")
    found = integrity.check(project)
    assert found.ok
    assert found.files == len(json.loads((project / "manifest.json").read_text())["files"])


@pytest.mark.parametrize(
    "name", ["Makefile", "firmware/defines.h", "tb_data/golden_0.dat", "scripts/impl.tcl"]
)
def test_one_changed_byte_is_found(name: str, project: Path) -> None:
    path = project / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = integrity.check(project)
    assert found.changed == (name,)
    with pytest.raises(CheckFailed, match=f"changed: {name}"):
        found.raise_if_failed()


def test_missing_and_foreign_files_are_found(project: Path) -> None:
    (project / "README.md").unlink()
    (project / "notes.txt").write_text("mine")
    (project / "firmware" / "extra.h").write_text("//")
    found = integrity.check(project)
    assert (found.missing, found.foreign) == (("README.md",), ("firmware/extra.h", "notes.txt"))


def test_links_count_as_changed(project: Path, tmp_path: Path) -> None:
    shutil.move(project / "Makefile", tmp_path / "Makefile")
    (project / "Makefile").symlink_to(tmp_path / "Makefile")
    shutil.move(project / "scripts", tmp_path / "scripts")
    (project / "scripts").symlink_to(tmp_path / "scripts")
    found = integrity.check(project)
    assert "Makefile" in found.changed
    assert "scripts/impl.tcl" in found.changed
    assert found.foreign == ("scripts",)


def test_an_edited_manifest_is_found(project: Path) -> None:
    path = project / "manifest.json"
    path.write_text(path.read_text().replace('"clock_ns": 10', '"clock_ns": 11'))
    assert integrity.check(project).changed == ("manifest.json",)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.unlink(), "holds no manifest.json"),
        (lambda p: p.write_text("{"), "no manifest of hwq"),
        (lambda p: p.write_text('{"files": {"a": "b"}, "digest": ""}'), "no manifest of hwq"),
        (
            lambda p: p.write_text(json.dumps({"files": {"../x": "0" * 64}, "digest": "0" * 64})),
            r"cannot hold the path '\.\./x'",
        ),
    ],
)
def test_what_is_no_project_is_refused(damage: Callable[[Path], object], said: str, project: Path) -> None:
    damage(project / "manifest.json")
    with pytest.raises(InputError, match=said):
        integrity.check(project)


def test_command(project: Path) -> None:
    run = CliRunner().invoke
    done = run(app, ["verify", str(project)])
    assert done.exit_code == 0
    assert "all as generated" in done.output
    assert run(app, ["verify", str(project), "--stages", "torch"]).exit_code == 2
    (project / "Makefile").write_text("")
    done = run(app, ["verify", str(project), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["changed"] == ["Makefile"]


def test_command_runs_csim(project: Path) -> None:
    done = CliRunner().invoke(app, ["verify", str(project), "--stages", "csim"])
    assert done.exit_code == 0
    assert "PASSED" in done.output
