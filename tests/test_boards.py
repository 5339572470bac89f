"""Boards: the schema, the sources, and the errors a user can meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwq import boards
from hwq.boards import DspType, Family
from hwq.errors import InputError
from hwq.files import data_dir

NUMBERS = ("speed_grade", "lut", "ff", "dsp", "bram18", "uram", "clock_mhz")


@pytest.mark.parametrize("name", boards.names())
def test_every_number_has_its_source(name: str) -> None:
    board = boards.load(name)
    assert set(board.sources) == {*NUMBERS, "part"}
    assert all(len(source) > 10 for source in board.sources.values())
    assert board.ff == 2 * board.lut  # of every family so far
    assert (board.dsp_type is DspType.DSP48E2) == board.family.value.endswith(("us", "u"))
    assert board.part.startswith(board.device[:6])


def test_the_six_boards_of_the_readme() -> None:
    expected = {
        "pynq-z2": ("xc7z020clg400-1", 53200, 106400, 220, 280, 0),
        "arty-a7-100t": ("xc7a100tcsg324-1", 63400, 126800, 240, 270, 0),
        "kv260": ("xck26-sfvc784-2LV-c", 117120, 234240, 1248, 288, 64),
        "zcu104": ("xczu7ev-ffvc1156-2-e", 230400, 460800, 1728, 624, 96),
        "alveo-u250": ("xcu250-figd2104-2L-e", 1728000, 3456000, 12288, 5376, 1280),
        "xcvu13p": ("xcvu13p-flga2577-2-e", 1728000, 3456000, 12288, 5376, 1280),
    }
    for name, numbers in expected.items():
        b = boards.load(name)
        assert (b.part, b.lut, b.ff, b.dsp, b.bram18, b.uram) == numbers
    assert boards.load("PYNQ-Z2").family is Family.ZYNQ_7000


def test_an_unknown_board_names_the_nearest_and_all() -> None:
    with pytest.raises(
        InputError, match=r"unknown board 'pynqz2': did you mean pynq-z2 or pynq-z1\?"
    ) as caught:
        boards.load("pynqz2")
    assert all(name in str(caught.value) for name in boards.names())
    with pytest.raises(InputError, match=r"unknown board 'qqqqqqq': known boards: "):
        boards.load("qqqqqqq")


def written(folder: Path, old: str, new: str) -> Path:
    text = (data_dir("boards") / "pynq-z2.toml").read_text()
    assert old in text
    path = folder / "mine.toml"
    path.write_text(text.replace(old, new))
    return path


def test_a_board_file_of_the_users_own(tmp_path: Path) -> None:
    board = boards.load(written(tmp_path, "53200", "40000"))
    assert (board.name, board.lut, board.ff) == ("mine", 40000, 106400)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lut = { value = 53200", 'lut = { value = "many"', r"key 'lut\.value': Expected `int`, got `str`"),
        ("lut = { value = 53200", "lut = { value = 0", r"key 'lut\.value': Expected `int` >= 1"),
        ("lut = {", "luts = {", r"unknown field `luts`|missing required field `lut`"),
        (
            'source = "the part number"',
            'source = ""',
            r"key 'speed_grade\.source': Expected `str` of length >= 1",
        ),
        ('family = "zynq7"', 'family = "zynq9"', r"key 'family': Invalid enum value 'zynq9'"),
        ("lut = {", "lut = [", r"is not TOML"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        boards.load(written(tmp_path, old, new))


def test_a_missing_board_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.toml does not exist"):
        boards.load(tmp_path / "absent.toml")


@pytest.mark.parametrize("part", ["[exec rm -rf x]", "a;b", "", "xc7 z020"])
def test_a_part_that_a_script_could_misread_is_refused(tmp_path: Path, part: str) -> None:
    text = (data_dir("boards") / "pynq-z2.toml").read_text().replace("xc7z020clg400-1", part, 1)
    path = tmp_path / "evil.toml"
    path.write_text(text)
    with pytest.raises(InputError, match="part"):
        boards.load(str(path))
