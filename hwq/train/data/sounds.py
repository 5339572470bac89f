"""Recordings: a folder or tar archive of .wav files, as logarithmic spectra."""

from __future__ import annotations

import io
import lzma
import math
import re
import tarfile
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hwq.errors import InputError
from hwq.train.data.dataset import Inputs, Raw
from hwq.train.data_spec import DataSpec

_SHAPE = (22, 32)
_WINDOW_S = 0.032
_FLOOR = 1e-6
_MAX_FILE, _MAX_BYTES, _MAX_FILES = 64 << 20, 4 << 30, 1_000_000
_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
_DAMAGED = (tarfile.TarError, lzma.LZMAError, zlib.error, OSError, EOFError)


def read_sounds(spec: DataSpec) -> Raw:
    """Spectra (N, bands, frames), or (N, 1, frames, bands), of every .wav below a folder or in a tar archive.

    The label is the first group of `data.file_label` in a file's path, or its folder's name. Files whose path
    `data.file_test` matches are the test part. An archive is read in memory; nothing is unpacked.

    Raises:
        InputError: A file that is not PCM, another rate than the first file's, or a path without a label.
    """
    bands, frames = _bands_and_frames(spec)
    label_of, is_test = _pattern("file_label", spec.file_label), _pattern("file_test", spec.file_test)
    spectra: dict[str, Inputs] = {}
    first: tuple[str, int] | None = None
    for name, content in _recordings(Path(spec.path)):
        signal, rate = read_wav(name, content)
        first = first or (name, rate)
        if rate != first[1]:
            raise InputError(f"{name} has {rate} samples a second, {first[0]} has {first[1]}: resample one")
        spectra[name] = log_spectrum(_fixed(signal, rate, spec.seconds), rate, bands, frames)
    test = sorted(name for name in spectra if is_test and is_test.search(name))
    train = sorted(spectra.keys() - set(test))
    if not train or (is_test and not test):
        raise InputError(f"{spec.path} has {len(train)} .wav files to train on and {len(test)} that key "
                         f"'data.file_test' = '{spec.file_test}' matches")  # fmt: skip
    parts = [
        (np.stack([spectra[name] for name in names]), np.array([_label(name, label_of) for name in names]))
        for names in (train, test)
        if names
    ]
    if len(spec.shape) == 3:
        parts = [(x.transpose(0, 2, 1)[:, None], y) for x, y in parts]
    return Raw(spec.path, *parts[0], *(parts[1] if is_test else ()))


def read_wav(name: str, content: bytes) -> tuple[Inputs, int]:
    """Samples −1..1 of a PCM file, the mean of its channels, and its rate in Hz.

    Raises:
        InputError: It is not PCM of 8 to 32 bits.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InputError(f"{name} cannot be read as PCM .wav: {error}") from error
    whole = len(data) // (width * channels) * width * channels
    if not whole or rate < 1:
        raise InputError(f"{name} has no samples: remove it")
    return _samples(data[:whole], width).reshape(-1, channels).mean(1, dtype=np.float32), rate


def _samples(data: bytes, width: int) -> Inputs:
    """Little-endian words of 1 to 4 bytes as −1..1; those of one byte are unsigned."""
    words = np.zeros((len(data) // width, 4), dtype=np.uint8)
    words[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
    if width == 1:
        words[:, 3] ^= 0x80
    return np.asarray(words.view("<i4")[:, 0] / 2.0**31, dtype=np.float32)


def log_spectrum(signal: Inputs, rate: int, bands: int, frames: int) -> Inputs:
    """Log of the mean power in mel-spaced bands (bands, frames): Hann windows of 32 ms, evenly over the signal."""
    size = max(4, round(_WINDOW_S * rate))
    padded = np.pad(signal, (0, max(0, size - len(signal))))
    starts = np.linspace(0, len(padded) - size, frames).round().astype(int)
    windows = padded[starts[:, None] + np.arange(size)] * np.hanning(size)
    power = np.abs(np.fft.rfft(windows, axis=1)) ** 2 / size
    return np.asarray(np.log(power @ _mel_filters(rate, size, bands) + _FLOOR).T, dtype=np.float32)


def _mel_filters(rate: int, size: int, bands: int) -> np.ndarray:
    """Triangles (size/2 + 1, bands) that overlap by half, of weight one each."""
    mel_top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, mel_top, bands + 2) / 2595) - 1)
    width = rate / size
    low, peak, high = (edges[i : i + bands] for i in range(3))
    bins = np.arange(size // 2 + 1)[:, None] * width
    rise = (bins - low) / np.maximum(peak - low, width)
    fall = (high - bins) / np.maximum(high - peak, width)
    filters = np.maximum(0, np.minimum(rise, fall))
    nearest = np.abs(bins - peak).argmin(0)  # a band narrower than a bin gets the nearest one
    empty = filters.sum(0) <= 0
    filters[nearest[empty], np.flatnonzero(empty)] = 1
    return np.asarray(filters / filters.sum(0))


def _bands_and_frames(spec: DataSpec) -> tuple[int, int]:
    shape = spec.shape or _SHAPE
    if len(shape) == 3 and shape[0] == 1:
        return shape[2], shape[1]
    if len(shape) != 2:
        raise InputError(
            f"key 'data.shape': {list(shape)} for recordings; need [bands, frames] or [1, frames, bands]"
        )
    return shape[0], shape[1]


def _fixed(signal: Inputs, rate: int, seconds: float) -> Inputs:
    """The first seconds, silence after the end; 0 is the whole signal."""
    count = round(seconds * rate)
    return np.pad(signal[:count], (0, max(0, count - len(signal)))) if count else signal


def _pattern(key: str, text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise InputError(f"key 'data.{key}': '{text}' is not a regular expression: {error}") from error


def _label(name: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        folder = name.rpartition("/")[0].rpartition("/")[2]
        if not folder:
            raise InputError(
                f"{name} lies in no folder that names its class: set data.file_label to a pattern"
            )
        return folder
    found = pattern.search(name)
    if not found or pattern.groups < 1:
        raise InputError(
            f"key 'data.file_label': '{pattern.pattern}' has no group that matches in {name}\n"
            r"  cure: a regular expression with the label in brackets, e.g. '(\d)_\w+\.wav'"
        )
    return found.group(1)


def _recordings(root: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every .wav file; paths are relative to the folder."""
    if root.is_dir():
        for path in root.rglob("*"):
            if path.suffix.lower() != ".wav" or not path.is_file():
                continue
            if path.stat().st_size > _MAX_FILE:
                raise InputError(
                    f"{path} has {path.stat().st_size} bytes; hwq reads at most {_MAX_FILE} a file"
                )
            yield path.relative_to(root).as_posix(), path.read_bytes()
        return
    if not root.is_file() or not root.name.lower().endswith(_ARCHIVES):
        raise InputError(f"{root} is neither a folder nor a tar archive ({', '.join(_ARCHIVES)})")
    yield from _archived(root)


def _archived(path: Path) -> Iterator[tuple[str, bytes]]:
    """Plain files of an archive, kept in memory: its paths are names only, its links are left out."""
    total = 0
    try:
        with tarfile.open(path, "r:*") as archive:
            for count, member in enumerate(archive):
                total += member.size
                if count >= _MAX_FILES or total > _MAX_BYTES:
                    raise InputError(f"{path} holds more than {_MAX_BYTES} bytes or {_MAX_FILES} files")
                if not member.isfile() or not member.name.lower().endswith(".wav"):
                    continue
                if member.size > _MAX_FILE:
                    raise InputError(
                        f"{path}: {member.name} has {member.size} bytes; at most {_MAX_FILE} a file"
                    )
                file = archive.extractfile(member)
                if file is not None:
                    yield member.name, file.read()
    except _DAMAGED as error:
        raise InputError(f"{path} cannot be read as a tar archive: {error}") from error
