"""A node whose log nobody reads."""

import fcntl
import os
import subprocess
import threading
from pathlib import Path

from node_process import Node, Output
from waiting import PATIENCE_SECS


def full_pipe() -> tuple[int, int]:
    """Both ends of a pipe that takes not a byte more."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    try:
        while os.write(writer, b"x" * 512):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    return reader, writer


class Unheard(Node):
    """A node whose stderr nobody reads until `read` is called."""

    def spawn(self) -> "Unheard":
        self.reader, writer = full_pipe()
        self.process = subprocess.Popen(
            self.arguments, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer
        )
        os.close(writer)
        with Path(os.devnull).open() as nothing:
            self.output = Output(nothing)
            self.output.drain()
        return self

    def read(self):
        """Reads from now on."""
        self.text = b""

        def read():
            while chunk := os.read(self.reader, 65536):
                self.text += chunk

        threading.Thread(target=read, daemon=True).start()

    def __enter__(self) -> "Unheard":
        return self.spawn()

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE_SECS)
        os.close(self.reader)
