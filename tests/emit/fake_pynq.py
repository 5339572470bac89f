"""A FAKE of the package `pynq`, for tests: its block and DMA channels run the wrapper that g++ compiled.

A fake bitstream is a JSON file that names the executable (see `axi_build`). What would hang on a board shows
as a channel that is never idle: no TLAST, input words that nobody reads, or too few of them.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CONTROL, IMAGES = 0x00, 0x10
START, IDLE = 1, 4
GARBAGE = 0xA5A5A5A5A5A5A5A5
MOST_BYTES = 2**26 - 1


class Buffer(np.ndarray[Any, Any]):
    """Contiguous memory."""

    def freebuffer(self) -> None:
        """Nothing to give back."""


def allocate(shape: tuple[int, ...], dtype: str) -> Buffer:
    """Memory that holds whatever it held."""
    return np.full(shape, GARBAGE, dtype=dtype).view(Buffer)


class Channel:
    """One direction of an AXI DMA in simple mode."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self.transferred = 0
        self.words: np.ndarray[Any, Any] | None = None
        self.queue: list[tuple[int, bool]] = []
        self.done = True
        self.error = False

    def transfer(self, array: np.ndarray[Any, Any], start: int = 0, nbytes: int = 0) -> None:
        """Start."""
        assert self.done, "DMA channel not idle"
        assert 0 < nbytes <= min(array.nbytes - start, MOST_BYTES)
        self.words = np.asarray(array).reshape(-1)[start // 8 : (start + nbytes) // 8]
        self.done = False

    @property
    def idle(self) -> bool:
        """Whether the transfer has ended."""
        self.overlay.advance()
        return self.done

    def wait(self) -> None:
        """Return when idle; the real one would wait for ever."""
        if self.error:
            raise RuntimeError("DMA Internal Error (transfer length 0?)")
        assert self.idle, "hang"

    def sent(self) -> None:
        """All words were taken."""
        assert self.words is not None
        self.transferred = self.words.nbytes
        self.done = True

    def arrive(self) -> None:
        """Words up to TLAST go to memory; without it the transfer does not end, too many words are an error."""
        assert self.words is not None
        for count, (word, last) in enumerate(self.queue, start=1):
            if count > len(self.words):
                self.error = True
                return
            self.words[count - 1] = word
            if last:
                self.queue = self.queue[count:]
                self.transferred = 8 * count
                self.done = True
                return


class Dma:
    """Both channels."""

    def __init__(self, overlay: Overlay) -> None:
        self.sendchannel = Channel(overlay)
        self.recvchannel = Channel(overlay)


class Block:
    """The registers of the network's AXI4-Lite port."""

    def __init__(self) -> None:
        self.images = 0
        self.idle = True

    def read(self, offset: int) -> int:
        """The control register."""
        assert offset == CONTROL
        return IDLE if self.idle else START

    def write(self, offset: int, value: int) -> None:
        """Set the number of images, or start."""
        assert self.idle, "written while it runs"
        assert offset in {CONTROL, IMAGES}
        if offset == IMAGES:
            self.images = value
        else:
            assert value == START
            self.idle = False


class Overlay:
    """The compiled wrapper behind DMA channels."""

    def __init__(self, bitstream: str) -> None:
        fake = json.loads(Path(bitstream).read_text())
        self.executable, self.folder = fake["executable"], fake["folder"]
        self.net = Block()
        self.dmas = [Dma(self) for _ in range(max(fake["inputs"], fake["outputs"]))]
        for i, dma in enumerate(self.dmas):
            setattr(self, f"dma_{i}", dma)
        self.send = [d.sendchannel for d in self.dmas[: fake["inputs"]]]
        self.receive = [d.recvchannel for d in self.dmas[: fake["outputs"]]]
        self.runs = 0

    def advance(self) -> None:
        """Run the block once it was started and every channel has a transfer."""
        started = not self.net.idle and self.runs >= 0
        if not started or any(c.done for c in (*self.send, *self.receive)):
            return
        self.runs += 1
        with tempfile.TemporaryDirectory() as folder:
            ended = self._execute(Path(folder))
        if not ended:
            self.runs = -1
            return
        self.net.idle = True
        for channel in self.send:
            channel.sent()
        for channel in self.receive:
            channel.arrive()

    def _execute(self, folder: Path) -> bool:
        for i, channel in enumerate(self.send):
            assert channel.words is not None
            channel.words.astype("<u8").tofile(folder / f"in_{i}.bin")
        command = [self.executable, str(self.net.images), str(folder)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode or "WARNING" in done.stdout:
            return False
        for i, channel in enumerate(self.receive):
            pairs = np.fromfile(folder / f"out_{i}.bin", "<u8").reshape(-1, 2)
            channel.queue += [(int(word), bool(last)) for word, last in pairs]
        return True
