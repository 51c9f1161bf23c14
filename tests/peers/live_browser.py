"""The live page in Chromium."""

import io
import json
import os
import re
import shutil
import struct
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image as Pillow
from playwright.sync_api import BrowserContext, Page
from waiting import until

# Numbers of a forward pass depend on what runs it.
ENGINE = ("--engine", "eager", "--threads", "1")
PANELS = ("camera", "features", "depth", "points", "similarity")
ALL_BLOBS = ["depth", "image", "labels", "pca", "tokens"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# WebGL without a graphics card; a camera that no test names is none.
BROWSER_OPTIONS = ("--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader")
# The pixels of a map as [height, width, 4], by the canvas's id.
PIXELS = """id => {
    const canvas = document.getElementById(id);
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    return { width, height, bytes: Array.from(data) };
}"""

SCREENSHOTS = os.environ.get("PIXIO_SCREENSHOTS")
for_docs = pytest.mark.skipif(not SCREENSHOTS, reason="PIXIO_SCREENSHOTS names a folder for docs/live-*.png")


def browser_path() -> str:
    """Debian's Chromium, or a near relative."""
    return next(filter(None, map(shutil.which, BROWSERS)), BROWSERS[0])


class Sight:
    """A page in the browser, and what it has said and sent."""

    def __init__(self, context: BrowserContext, url: str | None = None):
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        # Text messages of the page and of the node, and the page's images by their stamp.
        self.said: list[dict] = []
        self.heard: list[dict] = []
        self.images: dict[tuple[int, int], bytes] = {}
        # Frames that have come and are not drawn yet.
        self.n_undrawn = 0
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda err: self.errors.append(str(err)))
        self.page.on("request", lambda request: self._ask(request.url))
        self.page.on("websocket", self._connect)
        if url:
            self.page.goto(url)

    def _hear(self, message):
        # Warnings are of software WebGL and of what the tests themselves read.
        if message.type == "error":
            self.errors.append(message.text)

    def _ask(self, url: str):
        if not url.startswith(("blob:", "data:")):
            self.hosts.add(re.match(r"\w+://([^/:]+)", url)[1])

    def _connect(self, web_socket):
        self._ask(web_socket.url)
        self.n_undrawn = 0
        web_socket.on("framesent", self._send)
        web_socket.on("framereceived", self._receive)

    def _send(self, payload: str | bytes):
        if isinstance(payload, str):
            self.said.append(json.loads(payload))
            self.n_undrawn -= self.said[-1]["type"] == "drawn"
            return
        (length,) = struct.unpack_from("<I", payload)
        stamp = json.loads(payload[4 : 4 + length])["stamp"]
        self.images[tuple(stamp)] = payload[4 + length :]

    def _receive(self, payload: str | bytes):
        if isinstance(payload, str):
            self.heard.append(json.loads(payload))
        else:
            self.n_undrawn += 1

    def told(self, kind: str) -> list[dict]:
        """The node's messages of a type."""
        return [heard for heard in self.heard if heard["type"] == kind]

    def wait(self, condition, what: str):
        """Waits until `condition()` holds; the browser's events are heard meanwhile."""

        def look():
            self.page.wait_for_timeout(20)
            return condition()

        return until(look, what, log=lambda: f"{self.notices()}\n{self.errors}\n{self.said[-3:]}")

    def wait_for_panels(self, *names: str):
        """Waits until these panels show something."""
        for name in names or PANELS:
            self.wait(lambda: self.page.locator(f"#{name} .empty").is_hidden(), f"panel {name}")

    def asked(self) -> list[str] | None:
        """The blobs that the page asked for last."""
        return next((said["panels"] for said in reversed(self.said) if said["type"] == "look"), None)

    def wait_until_asked(self, *blobs: str):
        self.wait(lambda: self.asked() == sorted(blobs), f"a look at {blobs}")

    def notices(self) -> str:
        """The sentences that the page shows."""
        return " | ".join(self.page.locator("#notices li span").all_inner_texts())

    def wait_for_notice(self, part: str):
        self.wait(lambda: part in self.notices(), f"a notice with {part!r}")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def number(self, selector: str) -> float:
        """A figure; NaN where there is none yet."""
        text = self.page.locator(selector).text_content() or ""
        return float(text.replace(",", "")) if re.search(r"\d", text) else float("nan")

    def view(self, expression: str):
        """A JavaScript expression over `view`, which all panels look at."""
        return self.page.evaluate(
            f"async () => {{ const {{ view }} = await import('/scripts/view.js'); return {expression}; }}"
        )

    def stamp(self) -> tuple[int, int] | None:
        """The stamp of the frame that is shown."""
        found = self.view("view.frame?.stamp ?? null")
        return tuple(found) if found else None

    def wait_for_frames(self, n: int = 3):
        """Waits until the page has drawn so many more frames."""
        for _ in range(n):
            before = self.stamp()
            self.wait(lambda: self.stamp() != before, "another frame")

    def point(self, panel: str, x: float, y: float):
        """Moves the mouse to shares of a panel's stage."""
        box = self.page.locator(f"#{panel} .stage").bounding_box()
        self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    def grave_faults(self) -> list[str]:
        """What axe-core calls serious or critical."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['html']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def check_manners(self):
        """Nothing failed in the page, and nothing was asked of any other machine."""
        assert not self.errors, self.errors
        assert self.hosts <= {"127.0.0.1"}, self.hosts


@contextmanager
def sight(browser, url: str | None, **options):
    """A page in a context of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    try:
        yield Sight(context, url)
    finally:
        context.close()


def y4m(path: Path, images, rate_hz: int = 30) -> Path:
    """A video for Chromium's fake camera: YUV 4:2:0 of these RGB images."""
    import cv2

    height, width = images[0].shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate_hz}:1 Ip A1:1 C420jpeg\n".encode())
        for image in images:
            file.write(b"FRAME\n")
            file.write(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


def canvas(seen: Sight, name: str) -> np.ndarray:
    """uint8 [height, width, 4]: exactly what the canvas holds."""
    found = seen.page.evaluate(PIXELS, name)
    return np.array(found["bytes"], np.uint8).reshape(found["height"], found["width"], 4)


def photograph(seen: Sight, name: str):
    """Writes what the page shows to a file of `SCREENSHOTS`."""
    whole = Pillow.open(io.BytesIO(seen.page.screenshot())).convert("RGB")
    # 256 colours, spread, are enough for a page and a third of its bytes.
    palette = whole.quantize(256, method=Pillow.Quantize.FASTOCTREE)
    whole.quantize(palette=palette).save(Path(SCREENSHOTS) / name, optimize=True)
