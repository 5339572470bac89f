"""The recipe's section [data]."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Fraction: TypeAlias = Annotated[float, msgspec.Meta(gt=0, lt=0.9)]
Side: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=65_536)]


class DataSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which data set, how it is split, and how its training images are varied.

    Attributes:
        name: What `hwq.train.data.load` reads: digits, idx, npz, csv, images, wav or openml.
        split_seed: Draws the train/validation/test split; independent of the training seed.
        shift: Training images move by up to this many pixels in each direction, zeros coming in.
        flip: Half of the training images, drawn anew each epoch, are mirrored left to right.
        path: A file (npz, csv), a folder (idx, images, wav), a tar archive (wav), or the name of a data set on OpenML.
        hint: How to get the data; shown where `path` is not set.
        label: csv: the label's column, "first", "last" or its name in the header. openml: the target's name.
        header: csv: whether the first line names the columns.
        delimiter: csv: what separates the columns; "space" is any run of blanks.
        version: openml: the version of the data set.
        file_label: wav: a regular expression whose first group in a file's path is its label; else the
            folder's name is.
        file_test: wav: a regular expression that the paths of the test part match.
        seconds: wav: recordings are cut, or filled up with silence, to this length; 0 stretches each over
            the frames.
        test_fraction: Share of all rows for test, drawn by class, where the data has no test part of its own.
        test_rows: The last rows are the test part instead; 0 is none.
        validation_fraction: Share of the other rows for validation, drawn by class.
        subtract: Taken from every input first.
        divide_by: Every input is divided by this; a power of two keeps integers on a fixed-point grid.
        normalise: "01" maps minimum and maximum to 0 and 1, "standard" mean and deviation to 0 and 1: those of
            the train part, of each feature of a table (N, F), of each channel of images and series.
        shape: Shape of one input, without the batch axis, where the file's is another. images: they are resized
            to it. wav: [bands, frames] or [1, frames, bands] of the spectrum.
    """

    name: str
    split_seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    shift: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    flip: bool = False
    path: str = ""
    hint: str = ""
    label: str = "last"
    header: bool = False
    delimiter: Literal["comma", "semicolon", "tab", "space"] = "comma"
    version: Annotated[int, msgspec.Meta(ge=1)] = 1
    file_label: str = ""
    file_test: str = ""
    seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0
    test_fraction: Fraction = 0.2
    test_rows: Annotated[int, msgspec.Meta(ge=0)] = 0
    validation_fraction: Fraction = 0.125
    subtract: float = 0.0
    divide_by: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    normalise: Literal["none", "01", "standard"] = "none"
    shape: Annotated[tuple[Side, ...], msgspec.Meta(max_length=3)] = ()
