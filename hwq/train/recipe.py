"""Training recipes: TOML in, one frozen and fully checked record out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from hwq.errors import InputError
from hwq.train.data_spec import DataSpec as DataSpec
from hwq.train.distill_spec import DistillSpec as DistillSpec
from hwq.train.models.spec import ConvNetSpec as ConvNetSpec
from hwq.train.models.spec import MlpSpec as MlpSpec
from hwq.train.models.spec import ModelSpec
from hwq.train.prune.spec import PruneSpec as PruneSpec
from hwq.train.ptq.spec import PtqSpec as PtqSpec
from hwq.train.quantize_spec import InputSpec as InputSpec
from hwq.train.quantize_spec import QuantizeSpec as QuantizeSpec
from hwq.train.train_spec import TrainSpec as TrainSpec

_SHIPPED = Path(__file__).resolve().parent / "recipes"


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training run, completely: the same recipe on the same machine gives the same bits.

    Without [quantize] the float network is trained: a teacher, a baseline, or a start for quantisation.
    """

    name: str
    data: DataSpec
    model: ModelSpec
    train: TrainSpec
    description: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    input: InputSpec = InputSpec()
    quantize: QuantizeSpec | None = None
    distill: DistillSpec | None = None
    ptq: PtqSpec | None = None
    prune: PruneSpec | None = None

    def __post_init__(self) -> None:
        if self.ptq is not None and self.quantize is None:
            raise ValueError("section ptq needs section quantize, which says the bits")
        cycles = self.prune.rounds + 1 if self.prune and self.prune.method == "lottery" else 1
        if self.train.epochs % cycles:
            raise ValueError(
                f"train.epochs ({self.train.epochs}) must be a multiple of prune.rounds + 1 ({cycles}): "
                "the lottery trains that often"
            )


def shipped_recipes() -> list[str]:
    """The names that `load_recipe` knows without a path."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or a TOML file by path, and apply `section.key=value` overrides.

    Values are TOML (`0.01`, `true`, `[8, 16]`); what is not TOML is taken as text (`data.name=digits`).
    A section is left out by none: `quantize=none` trains the float network.

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
    if len(parts) == 1 and text.strip() == "none":
        table.pop(key.strip(), None)
        return
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
        annotation, tables = fields.get(key), {f"{prefix}{key}.": value}
        if get_origin(annotation) is dict and isinstance(value, dict):
            annotation = get_args(annotation)[1]
            tables = {f"{prefix}{key}.{name}.": entry for name, entry in value.items()}
        for path, entry in tables.items():
            _check_choice(annotation, entry, path.removesuffix("."), origin)
            inner = _struct_of(annotation, entry)
            if inner is not None and isinstance(entry, dict):
                _check_keys(entry, inner, path, origin)


def _check_choice(annotation: Any, value: Any, key: str, origin: str) -> None:
    """Refuse a word that is none of those which the key knows, with the nearest one."""
    members = get_args(annotation) if get_origin(annotation) is Literal else ()
    for member in get_args(annotation):
        members += get_args(member) if get_origin(member) is Literal else ()
        config = getattr(member, "__struct_config__", None)
        if config is not None and config.tag_field and isinstance(value, dict):
            members += (config.tag,)
            word, place = value.get(config.tag_field), f"{key}.{config.tag_field}"
    if not isinstance(value, dict):
        word, place = value, key
    known = [member for member in members if isinstance(member, str)]
    if known and isinstance(word, str) and word not in known and str not in get_args(annotation):
        hint = nearest(word, known)
        raise InputError(f"{origin}: key '{place}': no '{word}'{hint}\n  known: {', '.join(known)}")


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
