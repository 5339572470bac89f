"""Training recipes: TOML in, one frozen and fully checked record out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec

from hwq.errors import InputError
from hwq.train.data_spec import DataSpec as DataSpec

_SHIPPED = Path(__file__).resolve().parent / "recipes"

Bits: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=8)]
Width: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Padding: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=5)]
Window: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=8)]
Widths: TypeAlias = Annotated[tuple[Width, ...], msgspec.Meta(min_length=1, max_length=64)]


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed-point type of the network's input: codes of `bits` bits, each worth 2**-fraction_bits."""

    bits: Annotated[int, msgspec.Meta(ge=2, le=8)] = 8
    fraction_bits: Annotated[int, msgspec.Meta(ge=-16, le=16)] = 8
    signed: bool = False


class ConvNetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="convnet"):
    """Stages of convolution, batch normalisation, activation and max pooling, then one linear layer.

    Attributes:
        widths: Output channels, one entry a stage.
        weight_bits: 1 is binary (−1, +1); 2..8 are the symmetric integers −(2**(b−1)−1) .. 2**(b−1)−1.
        act_bits: 1 is bipolar (−1, +1); 2..8 are unsigned, after a ReLU.
        kernel: Side of the square kernel, in pixels.
        padding: Zeros added on each side of a stage's input, in pixels; one for all stages or one a stage.
        pool: Side and stride of the max pooling window, 1 is none; one for all stages or one a stage.
        bias: Whether the last linear layer has a (float) bias.
        weight_scale: One weight scale a layer, or one an output channel (the last layer has one in any case).
    """

    widths: Widths
    weight_bits: Bits
    act_bits: Bits
    kernel: Annotated[int, msgspec.Meta(ge=1, le=11)] = 3
    padding: Padding | tuple[Padding, ...] = 0
    pool: Window | tuple[Window, ...] = 2
    bias: bool = False
    weight_scale: Literal["tensor", "channel"] = "tensor"

    def __post_init__(self) -> None:
        for key, value in (("padding", self.padding), ("pool", self.pool)):
            if isinstance(value, tuple) and len(value) != len(self.widths):
                raise ValueError(f"{key} has {len(value)} entries for {len(self.widths)} stages in widths")
        if self.act_bits == 1 and any(self.paddings[1:]):
            raise ValueError(
                "padding must be 0 after the first stage where act_bits is 1: "
                "a padded zero is not one of the two values −1, +1"
            )

    @property
    def paddings(self) -> tuple[int, ...]:
        """The padding of every stage."""
        return self.padding if isinstance(self.padding, tuple) else (self.padding,) * len(self.widths)

    @property
    def pools(self) -> tuple[int, ...]:
        """The pooling window of every stage."""
        return self.pool if isinstance(self.pool, tuple) else (self.pool,) * len(self.widths)


class MlpSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mlp"):
    """Hidden layers of linear, batch normalisation and activation, then one linear layer.

    The fields mean what they mean in `ConvNetSpec`; `widths` are the hidden layers' outputs.
    """

    widths: Widths
    weight_bits: Bits
    act_bits: Bits
    bias: bool = False
    weight_scale: Literal["tensor", "channel"] = "tensor"


class TrainSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long and how fast: Adam, with a linear warm-up and then a cosine to zero, or a constant rate.

    Attributes:
        learning_rate: The peak of the schedule.
        warmup: Fraction of all steps during which the rate rises.
        weight_decay: Decoupled, on weights only (not on batch normalisation, biases and scales).
        label_smoothing: Probability mass moved from the true class to all classes.
    """

    epochs: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    batch_size: Annotated[int, msgspec.Meta(ge=2, le=65_536)] = 64
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.01
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Annotated[float, msgspec.Meta(ge=0, le=0.9)] = 0.2
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    label_smoothing: Annotated[float, msgspec.Meta(ge=0, le=0.9)] = 0.0


ModelSpec: TypeAlias = ConvNetSpec | MlpSpec


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training run, completely: the same recipe on the same machine gives the same bits."""

    name: str
    data: DataSpec
    model: ConvNetSpec | MlpSpec
    train: TrainSpec
    description: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    input: InputSpec = InputSpec()


def shipped_recipes() -> list[str]:
    """The names that `load_recipe` knows without a path."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or a TOML file by path, and apply `section.key=value` overrides.

    Values are TOML (`0.01`, `true`, `[8, 16]`); what is not TOML is taken as text (`data.name=digits`).

    Raises:
        InputError: An unknown name, key or a value out of range; the message names the key.
    """
    path = _find(name_or_path)
    try:
        table = msgspec.toml.decode(path.read_bytes())
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise InputError(f"recipe {path} cannot be read: {error}") from error
    for override in overrides:
        _override(table, override)
    return parse_recipe(table, origin=f"recipe '{name_or_path}'")


def parse_recipe(table: dict[str, Any], origin: str) -> Recipe:
    """Check a decoded recipe; `origin` says in the error messages where it came from."""
    _check_keys(table, Recipe, "", origin)
    try:
        return msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        raise InputError(f"{origin}: key '{key}': {reason}" if key else f"{origin}: {reason}") from error


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values, every default written out."""
    return dict(msgspec.to_builtins(recipe))


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint "; did you mean 'x'?" where a known word is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{prefix}{close[0]}'?" if close else ""


def _find(name_or_path: str) -> Path:
    shipped = _SHIPPED / f"{name_or_path}.toml"
    if re.fullmatch(r"[\w.-]+", name_or_path) and shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix == ".toml":
        raise InputError(f"recipe file {path} does not exist")
    names = shipped_recipes()
    hint = nearest(name_or_path, names)
    raise InputError(
        f"no recipe is called '{name_or_path}'{hint}\n  shipped: {', '.join(names)}; or give a .toml file"
    )


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise InputError(f"override '{override}' is not of the form section.key=value, e.g. train.epochs=10")
    try:
        value = msgspec.toml.decode(f"value = {text.strip()}")["value"]
    except msgspec.DecodeError:
        value = text.strip()
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise InputError(f"override '{override}': '{part}' is a value, not a section")
    table[parts[-1]] = value


def _check_keys(table: dict[str, Any], struct: type[msgspec.Struct], prefix: str, origin: str) -> None:
    """Refuse unknown keys with the nearest known one; msgspec's own message has no such hint."""
    fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
    tag_field = struct.__struct_config__.tag_field
    known = [*fields, *([tag_field] if tag_field else [])]
    for key, value in table.items():
        if key not in known:
            hint = nearest(key, known, prefix)
            listing = ", ".join(prefix + name for name in known)
            raise InputError(f"{origin}: unknown key '{prefix}{key}'{hint}\n  known: {listing}")
        inner = _struct_of(fields.get(key), value)
        if inner is not None and isinstance(value, dict):
            _check_keys(value, inner, f"{prefix}{key}.", origin)


def _struct_of(annotation: Any, value: Any) -> type[msgspec.Struct] | None:
    """The struct that a table should fill: the annotation, or the member of a union that `kind` names."""
    for candidate in get_args(annotation) or (annotation,):
        if not (isinstance(candidate, type) and issubclass(candidate, msgspec.Struct)):
            continue
        config = candidate.__struct_config__
        if config.tag_field is None or (
            isinstance(value, dict) and value.get(config.tag_field) == config.tag
        ):
            return candidate
    return None
