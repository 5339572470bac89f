"""The package as a user gets it: light to import, complete as a wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from tests.networks import mlp, write

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "onnx", "onnxruntime", "hls4ml", "qonnx", "brevitas", "sklearn", "scipy", "jinja2")


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in memory after a statement in a fresh interpreter."""
    code = f"{statement}; import sys; print(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import hwq", "import hwq.cli", "import hwq; hwq.load; hwq.Graph"])
def test_import_loads_nothing_heavy(statement: str) -> None:
    assert not loaded_by(statement) & set(HEAVY)


def fastest(words: list[str], runs: int = 5) -> float:
    """Seconds of the fastest run, so that a busy machine does not decide."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def test_import_and_help_are_quick() -> None:
    """Not twice the time of the libraries that they need."""
    numpy = fastest([sys.executable, "-c", "import numpy"])
    assert fastest([sys.executable, "-c", "import hwq, hwq.ir"]) < 2 * numpy
    tables = fastest([sys.executable, "-c", "import numpy, typer, rich.table"])
    assert fastest([sys.executable, "-m", "hwq", "--help"]) < 2 * tables


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `hwq` program of an environment that holds the built wheel; dependencies are this one's."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "-q"]
    subprocess.run([*pip, "--ignore-installed", str(wheel)], check=True, capture_output=True)
    return folder / "env" / "bin" / "hwq"


def run(words: list[object], folder: Path) -> str:
    done = subprocess.run([str(w) for w in words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_finds_its_boards_and_templates_from_another_folder(installed: Path, tmp_path: Path) -> None:
    where = run([installed.parent / "python", "-c", "import hwq; print(hwq.__file__)"], tmp_path)
    assert str(installed.parent.parent) in where
    assert {"pynq-z2", "xcvu13p"} <= {
        b["name"] for b in json.loads(run([installed, "boards", "--json"], tmp_path))
    }
    model = write(mlp(), tmp_path / "mlp.onnx")
    run([installed, "generate", model, "-o", tmp_path / "project", "--board", "kv260"], tmp_path)
    assert (tmp_path / "project" / "firmware" / "nnet_utils" / "hwq_requant.h").is_file() or list(
        (tmp_path / "project").rglob("hwq_*.h")
    )
    run([installed, "estimate", model, "--board", "kv260", "--quiet"], tmp_path)


def test_editable_install_finds_them_too(tmp_path: Path) -> None:
    code = "from hwq.files import data_dir; print(data_dir('boards'), data_dir('hls_templates'))"
    assert run([sys.executable, "-c", code], tmp_path).split() == [
        str(ROOT / "boards"),
        str(ROOT / "hls_templates"),
    ]
