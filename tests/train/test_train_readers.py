"""Readers of the user's own data: what comes out, and what a damaged or missing file says."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

import hwq.train
from hwq.errors import InputError
from hwq.train.data import load, off_grid
from hwq.train.data_spec import DataSpec
from hwq.train.recipe import InputSpec, load_recipe

RANDOM = np.random.default_rng(5)
IMAGES, LABELS = (
    RANDOM.integers(0, 256, (60, 6, 5), dtype=np.uint8),
    np.repeat(np.arange(3, dtype=np.uint8), 20),
)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(LABELS))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[::4])))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[::4])))
    return tmp_path


def npz(path: Path, **arrays: Any) -> DataSpec:
    np.savez(path, **arrays)
    return DataSpec(name="npz", path=str(path))


def table(path: Path, text: str, **keys: Any) -> DataSpec:
    path.write_text(text)
    return DataSpec(name="csv", path=str(path), **keys)


def rows(*parts: np.ndarray) -> list[bytes]:
    return sorted(row.tobytes() for part in parts for row in part)


def test_idx_files_plain_and_packed_keep_the_official_test_part(idx_folder: Path) -> None:
    data = load(DataSpec(name="idx", path=str(idx_folder), divide_by=256))
    assert data.input_shape == (1, 6, 5)
    assert np.array_equal(data.x_test[:, 0] * 256, IMAGES[::4])
    assert np.array_equal(data.y_test, LABELS[::4])
    assert rows(data.x_train, data.x_validation) == rows(IMAGES[:, None] / np.float32(256))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4", "is not an idx file: it begins with 504b 03 04"),
        (b"\0", "cannot be read as idx"),
        (idx(IMAGES)[:-1], "promises 1800 bytes of values, the file has only 1799"),
        (idx(IMAGES) + b"x", "promises 1800 bytes of values, the file has more"),
        (struct.pack(">HBBI", 0, 14, 1, 2**32 - 1), "hwq reads at most 4294967296"),
    ],
)
def test_a_damaged_idx_file_is_named(idx_folder: Path, content: bytes, message: str) -> None:
    (idx_folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match=f"train-images-idx3-ubyte.*{message}"):
        load(DataSpec(name="idx", path=str(idx_folder)))


def test_a_missing_idx_file_is_named(idx_folder: Path) -> None:
    (idx_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="has no file t10k-labels-idx"):
        load(DataSpec(name="idx", path=str(idx_folder)))


def test_npz_with_and_without_its_own_test_part(tmp_path: Path) -> None:
    spec = npz(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:6], y_test=LABELS[:6])
    assert np.array_equal(load(spec).x_test, IMAGES[:6])
    data = load(npz(tmp_path / "b.npz", x_train=IMAGES, y_train=LABELS))
    assert (len(data.x_test), data.input_shape) == (12, (6, 5))
    assert rows(data.x_train, data.x_validation, data.x_test) == rows(IMAGES.astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "holds x: need x_train"),
        ({"x_train": IMAGES, "y_train": np.array([{}], dtype=object)}, "cannot be read as .npz"),
        ({"x_train": IMAGES, "y_train": LABELS[:5]}, "labels of shape"),
        ({"x_train": IMAGES + 1j, "y_train": LABELS}, "array x_train is of type complex128"),
        ({"x_train": np.where(IMAGES > 5, np.nan, 1.0), "y_train": LABELS}, "row 0 .* not finite"),
        ({"x_train": IMAGES, "y_train": LABELS * 0}, "1 class in all"),
        ({"x_train": IMAGES, "y_train": np.arange(60)}, "cannot be split by class"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS + 7},
            "the test part has the class 7",
        ),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:, 1:], "y_test": LABELS},
            r"train inputs are \(6, 5\), test inputs are \(5, 5\)",
        ),
    ],
)
def test_an_unusable_npz_file_is_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load(npz(tmp_path / "bad.npz", **arrays))
    assert "bad.npz" in str(error.value)


@pytest.mark.parametrize(
    ("label", "header", "separator", "delimiter"),
    [("last", False, ",", "comma"), ("first", False, ";", "semicolon"), ("kind", True, "\t", "tab"),
     ("last", True, "  ", "space")],
)  # fmt: skip
def test_tables_in_every_form(
    tmp_path: Path, label: str, header: bool, separator: str, delimiter: str
) -> None:
    x, y = RANDOM.integers(0, 99, (40, 3)), ["b", "a"] * 20
    lines = [["p", "q", "r", "kind"]] if header else []
    lines += [[*map(str, row), name] for row, name in zip(x, y, strict=True)]
    if label == "first":
        lines = [[line[-1], *line[:-1]] for line in lines]
    text = "\n".join(separator.join(line) for line in lines) + "\n\n"
    keys: dict[str, Any] = {"label": label, "header": header, "delimiter": delimiter, "test_rows": 8}
    data = load(table(tmp_path / "t.csv", text, **keys))
    assert np.array_equal(data.x_test, x[-8:])
    assert data.y_test.tolist() == [1, 0] * 4
    assert (data.input_shape, data.classes, len(data.x_train)) == ((3,), 2, 28)


def test_whole_number_labels_sort_as_numbers(tmp_path: Path) -> None:
    text = "".join(f"{value},{label}\n" for value in range(10) for label in (10, 9))
    data = load(table(tmp_path / "t.csv", text, test_rows=2))
    assert data.y_test.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("1,2,a\n1,x,b\n", {}, r"t\.csv, line 2: could not convert string to float: 'x'\n  cure: set data.header"),
        ("1,2,a\n\n1,b\n", {}, "line 3: 2 columns, the first row has 3"),
        ("1;a\n", {}, "one column only: set data.delimiter"),
        ("p,q\n1,a\n", {"header": True, "label": "z"}, "no column 'z'; known: first, last, p, q"),
        ("1,a\n", {"label": "z"}, "names need data.header=true"),
        ("", {}, "has no rows"),
        ("1,a\n2,b\n", {"test_rows": 2}, "leaves none to train"),
        ("1,a\n2,b\n", {"shift": 1}, "'data.shift' is for images"),
        ("1,a\n2,b\n", {"flip": True}, "'data.flip' is for images"),
        ("1,a\n2,b\n", {"shape": (2, 2)}, "'data.shape'.* does not hold"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused_by_line(
    tmp_path: Path, text: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(table(tmp_path / "t.csv", text, **keys))


@pytest.mark.parametrize("how", ["01", "standard"])
def test_normalising_uses_the_train_part_alone(tmp_path: Path, how: Any) -> None:
    x = RANDOM.normal(3, 5, (60, 4))
    x[:, 3] = 7
    keys = {"x_train": x, "y_train": LABELS, "y_test": LABELS}
    near = load(replace(npz(tmp_path / "a.npz", x_test=x, **keys), normalise=how))
    far = load(replace(npz(tmp_path / "b.npz", x_test=x * 1000, **keys), normalise=how))
    assert np.array_equal(near.x_train, far.x_train)
    train = far.x_train[:, :3].astype(np.float64)
    low, high = (train.min(0), train.max(0)) if how == "01" else (train.mean(0), train.std(0))
    assert np.abs(low).max() < 1e-6
    assert np.abs(high - 1).max() < 1e-6
    assert not far.x_train[:, 3].any()


def test_subtracting_and_dividing_centres_pixels_on_a_signed_grid(tmp_path: Path) -> None:
    pixels = np.arange(240, dtype=np.uint8).reshape(60, 4) + 16
    spec = npz(tmp_path / "a.npz", x_train=pixels, y_train=LABELS, x_test=pixels, y_test=LABELS)
    data = load(replace(spec, subtract=128, divide_by=128))
    assert np.array_equal(data.x_test, (pixels.astype(np.float32) - 128) / 128)
    assert off_grid(data.x_test, InputSpec(bits=8, fraction_bits=7, signed=True)) == 0


def pictures(root: Path, sizes: tuple[tuple[int, int], ...], mode: str = "L") -> DataSpec:
    for name in ("cat", "ant"):
        (root / name).mkdir(parents=True)
        for number in range(10):
            size = sizes[number % len(sizes)]
            Image.new(mode, size, 200 if name == "cat" else 3).save(root / name / f"{number}.png")
    return DataSpec(name="images", path=str(root))


def test_images_by_folder(tmp_path: Path) -> None:
    data = load(pictures(tmp_path, ((4, 6),)))
    assert data.input_shape == (1, 6, 4)
    for image, label in zip(data.x_test, data.y_test, strict=True):
        assert np.unique(image).tolist() == [[3, 200][label]]


def test_images_of_colour_with_train_and_test_folders(tmp_path: Path) -> None:
    for part, files in (("train", 10), ("test", 2)):
        for index, name in enumerate(("ant", "cat")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(files):
                Image.new("RGB", (4, 6), (200 * index, 8 + number, 3)).save(
                    tmp_path / part / name / f"{number}.png"
                )
    data = load(DataSpec(name="images", path=str(tmp_path), divide_by=256))
    assert data.input_shape == (3, 6, 4)
    assert data.y_test.tolist() == [0, 0, 1, 1]
    assert (data.x_test[:, :, 5, 3] * 256).tolist() == [[0, 8, 3], [0, 9, 3], [200, 8, 3], [200, 9, 3]]
    assert off_grid(data.x_train, InputSpec(bits=8, fraction_bits=8)) == 0


def test_images_of_several_sizes_need_a_shape(tmp_path: Path) -> None:
    spec = pictures(tmp_path, ((4, 6), (5, 5)))
    with pytest.raises(InputError, match=r"1\.png is \(1, 5, 5\)"):
        load(spec)
    assert load(replace(spec, shape=(3, 8, 8))).input_shape == (3, 8, 8)


def test_a_broken_image_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no images"):
        load(DataSpec(name="images", path=str(tmp_path)))
    spec = pictures(tmp_path, ((4, 6),))
    (tmp_path / "ant" / "3.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"3\.png cannot be read as an image"):
        load(spec)


def test_openml_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", offline)
    with pytest.raises(InputError, match=r"'letter' version 2 cannot be fetched.*\n  cure: go online once"):
        load(DataSpec(name="openml", path="letter", version=2))


def test_a_recipe_without_its_path_says_how_to_get_the_data() -> None:
    with pytest.raises(InputError, match=r"'data.path' is not set: MNIST as .npz.*\n.*--set data.path=PATH"):
        load(load_recipe("mnist-tfc-w2a2").data)


def test_a_missing_file_is_named() -> None:
    for name in ("npz", "csv"):
        with pytest.raises(InputError, match=r"/nowhere/x.* cannot be read"):
            load(DataSpec(name=name, path="/nowhere/x"))


def test_a_table_trains_to_a_model(tmp_path: Path) -> None:
    text = "".join(f"{a},{b},{'xy'[a > b]}\n" for a in range(16) for b in range(16))
    (tmp_path / "t.csv").write_text(text)
    sets = [f"data.path={tmp_path / 't.csv'}", "data.label=last", "data.test_rows=0", "train.epochs=3"]
    result = hwq.train.run("letter-w2a2", tmp_path / "run", overrides=sets, quiet=True)
    assert result.test_accuracy > 0.7
    assert re.match(r"\(\d+, 2\)", str(np.load(result.test_inputs).shape))
