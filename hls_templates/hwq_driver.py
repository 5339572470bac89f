"""The network on the board, from Python: written by hwq; needs NumPy and PYNQ 2.7 or later, and nothing else.

    from hwq_driver import Network
    network = Network("x.bit")                     # x.hwh and overlay.json lie beside it
    codes = network.run_codes(images)              # exact integers in, exact integers out
    reals = network.run(images)                    # the same, as float64: scale * code + offset

Inputs are integer codes, not real numbers: the project does not hold the exact input quantiser. Where the
inputs were quantised by the model itself, `hwq.sim.encode` makes them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pynq

Array = np.ndarray
Description = Mapping[str, Any]

FORMAT = 1
CONTROL, IMAGES = 0x00, 0x10
"""Registers of the block: start in bit 0 and idle in bit 2 of one, the number of images in the other."""
START, IDLE = 1, 4
MOST_BYTES = 2**26 - 1
"""Of one transfer: the DMA's length register has 26 bits."""
BUFFER_BYTES = 2**22


class Network:
    """A loaded overlay.

    Args:
        bitstream: The ``.bit`` file; its ``.hwh`` lies beside it.
        description: ``overlay.json``; by default the one beside the bitstream, else beside this file.
        images_per_transfer: How many images a DMA transfer holds; by default what 4 MiB hold.
        timeout_s: How long one transfer may take.

    Attributes:
        inputs: Each input's name, shape (channels last, without batch), dtype and interval of codes.
        outputs: The same of each output; ``real`` holds scale and offset where they are known.

    Raises:
        FileNotFoundError: No description.
        ValueError: One that this driver does not read, or images that do not fit a transfer.
    """

    def __init__(
        self,
        bitstream: str | Path,
        description: str | Path | None = None,
        *,
        images_per_transfer: int | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        content = _read(Path(bitstream), description)
        self.inputs: list[Description] = content["inputs"]
        self.outputs: list[Description] = content["outputs"]
        self._timeout_s = timeout_s
        self._chunk = _chunk([*self.inputs, *self.outputs], images_per_transfer)
        self._overlay = pynq.Overlay(str(Path(bitstream).resolve()))
        self._block = self._overlay.net
        self._send = [getattr(self._overlay, f"dma_{i}").sendchannel for i in range(len(self.inputs))]
        self._receive = [getattr(self._overlay, f"dma_{i}").recvchannel for i in range(len(self.outputs))]
        self._in = [self._buffer(port) for port in self.inputs]
        self._out = [self._buffer(port) for port in self.outputs]

    def run_codes(self, codes: Mapping[str, Array] | Array) -> dict[str, Array] | Array:
        """Integer codes of the outputs, exactly.

        Args:
            codes: Integers (images, *shape), channels last, by input name; one array where there is one input.

        Returns:
            Integers (images, *shape) by output name, in each output's dtype; one array where there is one output.

        Raises:
            ValueError: Arrays that the network does not take; nothing was sent.
            TimeoutError: A transfer did not end; load the overlay again.
            RuntimeError: A transfer ended early, or the DMA reports an error; load the overlay again.
        """
        arrays = self._checked(codes)
        images = len(arrays[0])
        results = [np.empty((images, *port["shape"]), port["dtype"]) for port in self.outputs]
        for first in range(0, images, self._chunk):
            here = slice(first, min(first + self._chunk, images))
            for buffer, array, port in zip(self._in, arrays, self.inputs):
                _pack(buffer, array[here], port)
            self._transfer(here.stop - first)
            for buffer, result, port in zip(self._out, results, self.outputs):
                result[here] = _unpack(buffer, here.stop - first, port)
        return results[0] if len(results) == 1 else {p["name"]: r for p, r in zip(self.outputs, results)}

    def run(self, codes: Mapping[str, Array] | Array) -> dict[str, Array] | Array:
        """What the outputs mean: ``scale * code + offset`` in float64, rounded as float64 arithmetic does.

        Arguments, shapes and errors are those of `run_codes`.

        Raises:
            ValueError: Also where an output's meaning is not known; `run_codes` gives its integers.
        """
        if unknown := [port["name"] for port in self.outputs if "real" not in port]:
            raise ValueError(f"output '{unknown[0]}' has no known scale: use run_codes")
        result = self.run_codes(codes)
        if not isinstance(result, dict):
            return _real(result, self.outputs[0])
        return {port["name"]: _real(result[port["name"]], port) for port in self.outputs}

    def close(self) -> None:
        """Give the buffers back; the network cannot be run after that."""
        for buffer in (*self._in, *self._out):
            buffer.freebuffer()
        self._in, self._out = [], []

    def _buffer(self, port: Description) -> Any:
        return pynq.allocate(shape=(self._chunk, port["words"]), dtype="u8")

    def _transfer(self, images: int) -> None:
        """Send and receive; all channels at once, since the network may want one before another."""
        until = time.monotonic() + self._timeout_s
        self._wait(lambda: self._block.read(CONTROL) & IDLE, "the block", until)
        self._block.write(IMAGES, images)
        self._block.write(CONTROL, START)
        for channel, buffer, port in zip(self._receive, self._out, self.outputs):
            channel.transfer(buffer, nbytes=_bytes(images, port))
        for channel, buffer, port in zip(self._send, self._in, self.inputs):
            channel.transfer(buffer, nbytes=_bytes(images, port))
        for channel, port in zip([*self._send, *self._receive], [*self.inputs, *self.outputs]):
            self._wait(partial(_ended, channel), f"'{port['name']}'", until)
            channel.wait()
        for channel, port in zip(self._receive, self.outputs):
            if channel.transferred != _bytes(images, port):
                raise RuntimeError(
                    f"output '{port['name']}' ended after {channel.transferred} of {_bytes(images, port)} bytes: "
                    "the bitstream and overlay.json are not of one project, or TLAST came too early"
                )

    def _wait(self, idle: Callable[[], Any], name: str, until: float) -> None:
        while not idle():
            if time.monotonic() > until:
                raise TimeoutError(
                    f"{name} did not end within {self._timeout_s:g} s: the bitstream and overlay.json are not of one "
                    "project, TLAST is missing, or timeout_s is too short; load the overlay again"
                )

    def _checked(self, codes: Mapping[str, Array] | Array) -> list[Array]:
        names = [port["name"] for port in self.inputs]
        if not isinstance(codes, Mapping):
            if len(names) > 1:
                raise ValueError(
                    f"the network has the inputs {', '.join(names)}: give a dict of one array for each"
                )
            codes = {names[0]: codes}
        if set(codes) != set(names):
            raise ValueError(
                f"got arrays for {', '.join(sorted(codes)) or 'no input'}; the inputs are {', '.join(names)}"
            )
        arrays = [_check(codes[port["name"]], port) for port in self.inputs]
        if len({len(a) for a in arrays}) > 1:
            counts = ", ".join(f"{n}: {len(a)}" for n, a in zip(names, arrays))
            raise ValueError(f"the inputs differ in their number of images ({counts}): give each as many")
        return arrays


def _ended(channel: Any) -> bool:
    """Also by an error, which the channel's wait() raises."""
    return bool(channel.idle or channel.error)


def _read(bitstream: Path, description: str | Path | None) -> Description:
    beside = [bitstream.resolve().with_name("overlay.json"), Path(__file__).with_name("overlay.json")]
    places = [Path(description)] if description is not None else beside
    found = next((p for p in places if p.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"no {places[0]}: copy overlay.json from the project's folder driver/")
    content: Description = json.loads(found.read_text(encoding="utf-8"))
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{found} has format {content.get('format')}, this driver reads {FORMAT}: take both from one project"
        )
    return content


def _chunk(ports: list[Description], wanted: int | None) -> int:
    """Images a transfer."""
    largest = max(_bytes(1, port) for port in ports)
    most = MOST_BYTES // largest
    if most == 0:
        raise ValueError(f"an image of {largest} bytes is larger than a DMA transfer of {MOST_BYTES} bytes")
    if wanted is None:
        return max(1, min(most, BUFFER_BYTES // largest))
    if not 1 <= wanted <= most:
        raise ValueError(f"images_per_transfer {wanted}: give 1 to {most}")
    return wanted


def _bytes(images: int, port: Description) -> int:
    return images * int(port["words"]) * 8


def _check(codes: Any, port: Description) -> Array:
    array, name, shape = np.asarray(codes), port["name"], tuple(port["shape"])
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"input '{name}' takes integer codes, got {array.dtype}: quantise first (hwq.sim.encode)"
        )
    if array.shape[1:] != shape or array.ndim != len(shape) + 1 or not len(array):
        wanted = ", ".join(["images", *map(str, shape)])
        raise ValueError(
            f"input '{name}' takes ({wanted}), channels last, got {array.shape}: reshape or transpose it"
        )
    low, high = int(array.min()), int(array.max())
    if low < port["lo"] or high > port["hi"]:
        raise ValueError(
            f"input '{name}': codes must lie in {port['lo']}..{port['hi']}, got {low}..{high}: "
            "clip them, or quantise as the model does"
        )
    if port["bipolar"] and not np.isin(array, (port["lo"], port["hi"])).all():
        raise ValueError(f"input '{name}': codes must be {port['lo']} or {port['hi']}: take the sign")
    return array


def _lanes(buffer: Array, images: int, port: Description) -> Array:
    """The buffer's first images as codes (images, codes in whole words), without a copy."""
    return np.asarray(buffer)[:images].view(np.dtype(port["dtype"]).newbyteorder("<"))


def _pack(buffer: Array, codes: Array, port: Description) -> None:
    lanes = _lanes(buffer, len(codes), port)
    lanes[:, : port["size"]] = codes.reshape(len(codes), -1)
    lanes[:, port["size"] :] = 0


def _unpack(buffer: Array, images: int, port: Description) -> Array:
    codes: Array = _lanes(buffer, images, port)[:, : port["size"]].reshape(images, *port["shape"])
    return codes


def _real(codes: Array, port: Description) -> Array:
    scale, offset = (np.array(port["real"][key]["float"], np.float64) for key in ("scale", "offset"))
    return np.asarray(scale * codes + offset)
