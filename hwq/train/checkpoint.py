"""Checkpoints: plain tensors and JSON values, written whole, read without executing anything."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from hwq.errors import InputError
from hwq.files import write_atomic
from hwq.train.network import Start, build_network
from hwq.train.recipe import Recipe, parse_recipe, resolved

_FORMAT = 2


def write(path: Path, content: dict[str, Any], recipe: Recipe) -> None:
    """Write tensors and plain values together with the recipe that made them."""
    buffer = io.BytesIO()
    text = msgspec.json.encode(resolved(recipe)).decode()
    torch.save({"format": _FORMAT, "recipe": text, **content}, buffer)
    write_atomic(path, buffer.getvalue())


def read(path: Path) -> tuple[dict[str, Any], Recipe]:
    """Read a checkpoint of hwq's, with `weights_only`: no code in the file can run.

    Raises:
        InputError: The file is missing, is not a checkpoint, or was not written by this version of hwq.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path} is not a checkpoint written by hwq train (format {_FORMAT})")
    return content, parse_recipe(msgspec.json.decode(content["recipe"]), origin=f"checkpoint {path}")


def load_model(path: Path) -> nn.Module:
    """The network of a checkpoint, rebuilt from the recipe inside it, in evaluation mode."""
    content, recipe = read(path)
    with torch.random.fork_rng(devices=[]):
        model = build_network(
            recipe, tuple(content["input_shape"]), content["classes"], trained=content["model"]
        )
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise InputError(f"{path} does not fit the network of its own recipe: {error}") from error
    return model.eval()


def read_start(path: Path) -> Start:
    """The weights of another run, for `train.init`."""
    content, recipe = read(path)
    narrowed = recipe.prune is not None and recipe.prune.channels is not None
    return Start(path, content["model"], recipe.quantize, narrowed)


def check_machine(content: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on where the same recipe would give other bits: another device, count of replicas, or JIT.

    Raises:
        InputError: Something differs; the message names it.
    """
    before = content["machine"]
    changed = [f"  {key}: {before[key]} before, {now[key]} now" for key in now if before[key] != now[key]]
    if changed:
        raise InputError(
            "cannot resume: the run would not be the uninterrupted one\n" + "\n".join(changed) + "\n"
            "  cure: resume as it was begun, or start another run from this checkpoint (train.init)"
        )
