"""Recordings: from .wav files in folders and archives to spectra, and what is refused."""

from __future__ import annotations

import io
import tarfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwq.errors import InputError
from hwq.train.data import load, sounds
from hwq.train.data_spec import DataSpec

RATE = 8000


def wav(samples: np.ndarray, rate: int = RATE, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, width, rate, 0, "NONE", ""))
        out.writeframes(samples.tobytes())
    return file.getvalue()


def tone(hertz: float, seconds: float = 0.3) -> np.ndarray:
    return (12_000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype("<i2")


FILES = {
    f"recordings/{digit}_{who}_{n}.wav": wav(tone(400 + 900 * digit + 10 * n))
    for digit in (0, 3)
    for who in ("ann", "bob")
    for n in range(6)
}
PATTERNS = {"file_label": r"(\d)_\w+_\d+\.wav$", "file_test": r"_[01]\.wav$"}


def archive(path: Path, files: dict[str, bytes], mode: Any = "w:xz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def spec(path: Path, **keys: Any) -> DataSpec:
    return DataSpec(name="wav", path=str(path), **keys)


def test_a_folder_and_an_archive_give_the_same_spectra_split_by_name(tmp_path: Path) -> None:
    packed = load(spec(archive(tmp_path / "a.tar.xz", FILES), **PATTERNS))
    plain = load(spec(folder(tmp_path / "a", FILES), **PATTERNS))
    assert packed.input_shape == (22, 32)
    assert (len(packed.x_test), packed.classes) == (8, 2)
    assert packed.y_test.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(packed.x_train, plain.x_train)
    assert np.array_equal(packed.x_test, plain.x_test)


def test_without_patterns_the_folder_names_the_class(tmp_path: Path) -> None:
    named = {f"{('no', 'yes')[i % 2]}/{i}.wav": wav(tone(500 + 2000 * (i % 2))) for i in range(20)}
    data = load(spec(folder(tmp_path, named), shape=(1, 9, 5)))
    assert (data.input_shape, data.classes, len(data.x_test)) == ((1, 9, 5), 2, 4)
    assert (data.x_test[:, 0].mean(1).argmax(1) == np.where(data.y_test, 4, 1)).all()


def test_the_band_of_a_tone_is_the_one_whose_triangle_holds_it() -> None:
    for hertz, band in ((250.0, 3), (1000.0, 10), (3000.0, 19)):
        spectrum = sounds.log_spectrum(tone(hertz) / np.float32(2**15), RATE, 22, 8)
        assert spectrum.shape == (22, 8)
        assert (spectrum.argmax(0) == band).all()


def test_every_band_has_weight_one_even_where_bins_are_wider_than_bands() -> None:
    for bands in (4, 22, 200):
        assert np.allclose(sounds._mel_filters(RATE, 256, bands).sum(0), 1)


def test_a_length_in_seconds_cuts_and_fills_with_silence(tmp_path: Path) -> None:
    long = {
        f"{c}/{i}.wav": wav(np.concatenate([tone(900, 0.2), tone(3000, 0.2)]))
        for c in "ab"
        for i in range(10)
    }
    x = load(spec(folder(tmp_path, long), seconds=0.2)).x_test
    assert (x.argmax(1) == 9).all()
    x = load(spec(tmp_path, seconds=0.8)).x_test
    silent = np.float32(np.log(sounds._FLOOR))
    assert (x[:, :, -10:] == silent).all()
    assert (x[:, :, :14].max(1) > -3).all()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_every_width_are_the_same_signal(width: int) -> None:
    values = np.array([-(2**7), -3, 0, 5, 2**7 - 1])
    raw = (values + 128 if width == 1 else values << 8 * (width - 1)).astype("<i8")
    content = wav(raw.view(np.uint8).reshape(-1, 8)[:, :width].copy(), width=width)
    samples, rate = sounds.read_wav("x", content)
    assert (samples * 128).tolist() == values.tolist()
    assert rate == RATE


def test_channels_are_averaged() -> None:
    stereo = np.array([[100, 300], [-100, 100]], dtype="<i2")
    assert (sounds.read_wav("x", wav(stereo, channels=2))[0] * 2**15).tolist() == [200, 0]


@pytest.mark.parametrize(
    ("files", "keys", "message"),
    [
        ({"a/x.wav": b"RIFF"}, {}, r"a/x\.wav cannot be read as PCM \.wav"),
        ({"a/x.wav": wav(tone(9)[:0])}, {}, r"a/x\.wav has no samples"),
        ({"a/x.wav": wav(tone(9)), "b/y.wav": wav(tone(9), 16000)}, {}, "has .* samples a second, .* resample"),
        ({"x.wav": wav(tone(9))}, {}, "lies in no folder that names its class: set data.file_label"),
        ({"a/x.wav": wav(tone(9))}, {"file_label": r"(\d)"}, r"has no group that matches in a/x\.wav"),
        ({"a/x.wav": wav(tone(9))}, {"file_label": "("}, "'data.file_label': .* is not a regular expression"),
        ({"a/x.wav": wav(tone(9))}, {"file_test": "z"}, "1 .wav files to train on and 0 that key 'data.file_test'"),
        ({"a/x.wav": wav(tone(9))}, {"file_test": "x"}, "0 .wav files to train on and 1 "),
        ({"a/x.wav": wav(tone(9))}, {"shape": (3, 4, 5)}, r"\[bands, frames\] or \[1, frames, bands\]"),
        ({"readme": b""}, {}, "0 .wav files to train on"),
    ],
)  # fmt: skip
def test_unusable_recordings_are_named(
    tmp_path: Path, files: dict[str, bytes], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(spec(folder(tmp_path, files), **keys))


def test_what_is_no_archive_and_a_cut_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a folder nor a tar archive"):
        load(spec(tmp_path / "none"))
    path = archive(tmp_path / "a.tar.xz", FILES)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InputError, match=r"a\.tar\.xz cannot be read as a tar archive"):
        load(spec(path, **PATTERNS))


def test_an_archive_cannot_write_outside_itself_and_its_links_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "in" / "evil.tar"
    path.parent.mkdir()
    files = {"../../escaped_0.wav": wav(tone(9))} | FILES
    archive(path, files, "w")
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("recordings/9_link_9.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    keys = PATTERNS | {"file_label": r"(?:escaped_|/)(\d)"}
    before = sorted(tmp_path.rglob("*"))
    data = load(spec(path, **keys))
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "escaped_0.wav").exists()
    assert sum(map(len, (data.x_train, data.x_validation, data.x_test))) == len(FILES) + 1


@pytest.mark.parametrize(("limit", "value"), [("_MAX_FILE", 1000), ("_MAX_BYTES", 20_000), ("_MAX_FILES", 3)])
def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    path = archive(tmp_path / "a.tar.xz", FILES)
    monkeypatch.setattr(sounds, limit, value)
    with pytest.raises(InputError, match=r"at most 1000 a file|holds more than"):
        load(spec(path, **PATTERNS))
