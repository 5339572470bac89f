"""Images in folders: one folder a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwq.errors import InputError
from hwq.train.data.dataset import Raw
from hwq.train.data_spec import DataSpec

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm"}


def read_images(spec: DataSpec) -> Raw:
    """PATH/CLASS/*.png as (N, C, H, W) of 0..255; or PATH/train/CLASS and PATH/test/CLASS.

    All images have the size and channels of `data.shape` ([1 or 3, H, W]: they are resized to it), or else of
    the first image.
    """
    root = Path(spec.path)
    if spec.shape and (len(spec.shape) != 3 or spec.shape[0] not in {1, 3}):
        raise InputError(f"key 'data.shape': {list(spec.shape)} for images; need [1, H, W] or [3, H, W]")
    if (root / "train").is_dir() and (root / "test").is_dir():
        (x, y), (x_test, y_test) = _read(root / "train", spec), _read(root / "test", spec)
        return Raw(str(root), x, y, x_test, y_test)
    return Raw(str(root), *_read(root, spec))


def _read(root: Path, spec: DataSpec) -> tuple[np.ndarray, np.ndarray]:
    files = sorted(path for path in root.glob("*/*") if path.suffix.lower() in _ENDINGS)
    if not files:
        raise InputError(
            f"folder {root} has no images: need {root}/CLASS/NAME{{{', '.join(sorted(_ENDINGS))}}}"
        )
    first = _image(files[0], spec)
    x = np.empty((len(files), *first.shape), dtype=np.uint8)
    for row, path in enumerate(files):
        image = _image(path, spec)
        if image.shape != first.shape:
            raise InputError(
                f"{path} is {image.shape}, {files[0]} is {first.shape} (channels, height, width)\n"
                f"  cure: resize all, e.g. --set 'data.shape={list(first.shape)}'"
            )
        x[row] = image
    return x, np.array([path.parent.name for path in files])


def _image(path: Path, spec: DataSpec) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError  # comes with matplotlib; not needed for other data

    try:
        with Image.open(path) as file:
            grey = spec.shape[0] == 1 if spec.shape else file.mode in {"1", "L", "I;16"}
            image = file.convert("L" if grey else "RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from error
    if spec.shape:
        image = image.resize((spec.shape[2], spec.shape[1]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)
