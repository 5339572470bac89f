"""Processes that train one run after the other, so that torch is imported once in each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Any

from hwq.errors import CheckFailed

_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Worker:
    """One process, in a session of its own: the terminal's Ctrl-C reaches it through `interrupt`, once."""

    def __init__(self) -> None:
        self.said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115  lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "hwq.bench.train_worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True, bufsize=1,
            env={**os.environ, **_THREADS}, start_new_session=True,
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def ask(self, request: dict[str, Any], on_epoch: Callable[[int], None]) -> None:
        """Do one request of `hwq.bench.train_worker`.

        Raises:
            CheckFailed: It could not be done; the message is the worker's.
        """
        if self.process.stdin and self.process.stdout:
            self.process.stdin.write(json.dumps(request) + "\n")
            for line in self.process.stdout:
                answer = json.loads(line)
                if not isinstance(answer, dict):
                    on_epoch(answer)
                elif answer["failed"] is None:
                    return
                else:
                    raise CheckFailed(answer["failed"])
        code = self.process.wait()
        self.said.seek(0)
        raise CheckFailed(f"its process ended with {code}: {self.said.read().strip()[-2000:]}")

    def interrupt(self) -> None:
        """Stop at once; runs go on from their last epoch another time."""
        if self.alive:
            self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """No more requests."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()
        self.said.close()
