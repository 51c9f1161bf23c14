"""`pixio_node live`, and a page of it without a browser: HTTP and the WebSocket's protocol."""

import contextlib
import http.client
import json
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
from urllib.parse import urlsplit

from node_process import BINARY, ROOT, NodeError, Output, end_with_parent, environment
from waiting import PATIENCE_SECS
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

TINY = ROOT / "models" / "pixio-tiny"
TINY_WITH_HEADS = (
    "--model",
    str(TINY),
    "--depth-head",
    str(TINY / "depth.safetensors"),
    "--segmentation-head",
    str(TINY / "segmentation.safetensors"),
)
PANELS = ["image", "pca", "depth", "labels", "tokens"]


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Address:
    """A printed address, token and all."""

    def __init__(self, url: str):
        self.url = url
        self.host = urlsplit(url).netloc
        self.token = re.search(r"token=(\w+)", url)[1]
        self.cookie = f"pixio_{urlsplit(url).port}={self.token}"

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of a page; `headers` replace the usual ones, and _ in them means -."""
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE_SECS)
        sent = {"Host": self.host} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection.putrequest("GET", path, skip_host=True)
        for name, text in sent.items():
            connection.putheader(name, text)
        connection.endheaders()
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}, text

    def open(self, *, origin: str | None = "own", cookie: str | None = "own") -> "Page":
        """A page's WebSocket, as its script opens it."""
        own = f"http://{self.host}"
        headers = {"Cookie": self.cookie if cookie == "own" else cookie} if cookie else {}
        return Page(
            connect(
                f"ws://{self.host}/socket",
                origin=own if origin == "own" else origin,
                additional_headers=headers,
                max_size=None,
                compression=None,
                open_timeout=PATIENCE_SECS,
            )
        )


class Live:
    """A process of `pixio_node live`. Use it as a context manager."""

    def __init__(self, *options: str, model=TINY_WITH_HEADS, port: int | None = None, env=None):
        self.port = port or free_port()
        self.cache = tempfile.TemporaryDirectory(prefix="pixio-cache-")
        arguments = [*model, "--device", "cpu", "--live-port", str(self.port), *options]
        self._arguments = [str(BINARY), "live", *map(str, arguments)]
        self._env = environment(XDG_CACHE_HOME=self.cache.name, NO_COLOR="1", **(env or {}))

    def __enter__(self) -> "Live":
        self.process = subprocess.Popen(
            self._arguments,
            env=self._env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=end_with_parent,
        )
        self.output = Output(self.process.stdout)
        line = self.output.wait_for(r"^open http", 0, self.alive, PATIENCE_SECS)
        if not line:
            raise NodeError(f"no address: {' '.join(self._arguments)}\n{self.tail()}")
        self.address = Address(line.split()[1])
        return self

    def __exit__(self, *_):
        if self.alive():
            self.process.kill()
            self.process.wait(PATIENCE_SECS)
        self.output.drain()
        self.cache.cleanup()

    def alive(self) -> bool:
        return self.process.poll() is None

    def tail(self) -> str:
        return "\n".join(self.output.lines[-30:])

    def stop(self) -> int:
        """Asks the process to end and returns its exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE_SECS)
        self.output.drain()
        return code


class Frame:
    """A frame as a page gets it."""

    def __init__(self, message: bytes):
        (length,) = struct.unpack_from("<I", message)
        self.about = json.loads(message[4 : 4 + length])
        self.blobs, at = {}, 4 + length
        for blob in self.about["blobs"]:
            self.blobs[blob["name"]] = message[at : at + blob["bytes"]]
            at += blob["bytes"]
        assert at == len(message), "the blobs fill the message"


class Page:
    """One page's end of the WebSocket. `texts` are the text messages that have come."""

    def __init__(self, connecting):
        self._stack = contextlib.ExitStack()
        self.peer = self._stack.enter_context(connecting)
        self.texts: list[dict] = []

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stack.close()

    def say(self, kind: str, /, **content):
        self.peer.send(json.dumps({"type": kind} | content))

    def look(self, *panels: str, camera: int = 0):
        self.say("look", camera=camera, panels=list(panels or PANELS))

    def image(self, file: bytes, stamp: float | None = None) -> list[int]:
        """Sends an image; its stamp is what comes back with the frame."""
        now = time.time_ns() if stamp is None else int(stamp * 1e9)
        stamp = [now // 10**9, now % 10**9]
        about = json.dumps({"stamp": stamp}).encode()
        self.peer.send(struct.pack("<I", len(about)) + about + file)
        return stamp

    def text(self, kind: str) -> dict:
        """The next text message of a type; frames that come before are not answered."""
        while True:
            message = self.peer.recv(PATIENCE_SECS)
            if isinstance(message, str):
                self.texts.append(json.loads(message))
                if self.texts[-1]["type"] == kind:
                    return self.texts[-1]

    def frame(self, *, drawn: bool = True) -> Frame:
        """The next frame, answered unless `drawn` is false."""
        while True:
            message = self.peer.recv(PATIENCE_SECS)
            if isinstance(message, str):
                self.texts.append(json.loads(message))
                continue
            if drawn:
                self.say("drawn")
            return Frame(message)

    def ended(self) -> tuple[int, str]:
        """Waits for the end of the connection: code and reason."""
        try:
            while True:
                self.peer.recv(PATIENCE_SECS)
        except ConnectionClosed as err:
            assert err.rcvd, "the connection broke off"
            return err.rcvd.code, err.rcvd.reason
