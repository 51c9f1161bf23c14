"""Teaching in the page by a hand that knows the truth: the room walk and its labels."""

import contextlib
import threading
from functools import cache

import cv2
import images
import numpy as np
from live_browser import Sight, sight
from node_process import ROOT
from peer import Peer, nanos
from PIL import Image as Pillow
from sensor_msgs.msg import Image
from waiting import PATIENCE_SECS

WALK = ROOT / "data" / "room-walk"
# Where floor, wall and sofa are in sight, a few steps apart.
FRAMES = range(22, 58, 3)
# Classes of the walk by their numbers in its labels.
TRUE = {"floor": 0, "wall": 1, "sofa": 5}
# Patches of models/pixio-tiny, each way.
GRID = 16


@cache
def seen_by_camera(frame: int) -> np.ndarray:
    """uint8 [240, 320, 3], RGB."""
    return np.asarray(Pillow.open(WALK / "rgb" / f"scene0000_frame{frame:04}.jpg").convert("RGB"))


@cache
def truth(frame: int) -> np.ndarray:
    """uint8 [240, 320]: the number of each pixel's class."""
    return np.asarray(Pillow.open(WALK / "labels" / f"scene0000_frame{frame:04}.png"))


def true_pixels(frame: int, name: str, n: int) -> list[tuple[float, float]]:
    """Pixels of the camera in the middle of `n` patches that show nothing else, far from each other."""
    is_class = (truth(frame) == TRUE[name]).astype(float)
    shares = cv2.resize(is_class, (GRID, GRID), interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(shares > 0.999)
    assert len(rows) >= n, f"{name} in frame {frame}"
    picked = np.linspace(0, len(rows) - 1, n).round().astype(int)
    height, width = is_class.shape
    return [((columns[i] + 0.5) * width / GRID - 0.5, (rows[i] + 0.5) * height / GRID - 0.5) for i in picked]


def recalls(labels: np.ndarray, frame: int, numbers: dict[str, int]) -> dict[str, float]:
    """Share of each class's true pixels that have its label; `numbers` are those of the labels."""
    height, width = labels.shape
    true = cv2.resize(truth(frame), (width, height), interpolation=cv2.INTER_NEAREST)
    return {name: float((labels == numbers[name])[true == TRUE[name]].mean()) for name in TRUE}


class Walk:
    """A camera that goes through the room again and again. Use it as a context manager."""

    def __init__(self, peer: Peer, topic: str, rate_hz: float = 8.0):
        self._peer, self._period = peer, 1 / rate_hz
        self._publisher = peer.publisher(Image, topic)
        self._frame_by_stamp: dict[int, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Walk":
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join(PATIENCE_SECS)
        self._peer.node.destroy_publisher(self._publisher)

    def frame_at(self, stamp: int) -> int:
        """The walk's frame that was sent with this stamp, nanoseconds."""
        return self._frame_by_stamp[stamp]

    def _run(self):
        step = 0
        while not self._stopped.wait(self._period):
            frame = FRAMES[step % len(FRAMES)]
            stamp = self._peer.stamp()
            self._frame_by_stamp[nanos(stamp)] = frame
            self._publisher.publish(images.image(seen_by_camera(frame), stamp))
            step += 1


def click(seen: Sight, x: float, y: float):
    """Presses and lets go at a pixel of the camera."""
    width, height = seen.view("view.frame.size")
    seen.point("camera", (x + 0.5) / width, (y + 0.5) / height)
    seen.page.mouse.down()
    seen.page.mouse.up()


def add_class(seen: Sight, name: str):
    """Names a class in the page, which chooses it."""
    seen.page.locator("#class-name").fill(name)
    seen.page.keyboard.press("Enter")


def choose(seen: Sight, name: str):
    seen.page.locator(f'#palette input[value="{name}"]').click()


def pause(seen: Sight):
    """What is shown stays."""
    seen.page.locator("#pause").click()
    seen.wait_until_asked()
    # Behind the second report from now on no frame comes that was on its way.
    n = len(seen.told("status")) + 2
    seen.wait(lambda: len(seen.told("status")) >= n and not seen.n_undrawn, "a page at rest")


def counts(seen: Sight) -> dict[str, int]:
    """The palette: exemplars of every class."""
    found = seen.page.evaluate(
        """() => [...document.querySelectorAll('#palette label')].map((label) =>
            [label.querySelector('input').value, Number(label.querySelector('.count').textContent)])"""
    )
    return dict(found)


def wait_for_counts(seen: Sight, **expect: int):
    """Waits until the palette shows so many exemplars of these classes."""
    seen.wait(lambda: expect.items() <= counts(seen).items(), f"{expect} in the palette")


def taught(seen: Sight) -> list[dict]:
    """The messages with which the page has taught."""
    return [said for said in seen.said if said["type"] == "teach"]


@contextlib.contextmanager
def opened(browser, node, **options):
    """A page of a node that is taught, as soon as it may teach."""
    with sight(browser, node.address.url, **options) as made:
        made.wait_for_panels("camera")
        made.wait(lambda: "other" in counts(made), "the palette")
        yield made
        made.check_manners()


def pixel(patch: tuple[int, int]) -> tuple[float, float]:
    """The middle of a patch in an image of the walk's size."""
    return (patch[0] + 0.5) * 320 / GRID - 0.5, (patch[1] + 0.5) * 240 / GRID - 0.5


def teach(seen: Sight, name: str, patch: tuple[int, int]):
    """Teaches a class one patch."""
    add_class(seen, name)
    before = counts(seen)[name]
    click(seen, *pixel(patch))
    wait_for_counts(seen, **{name: before + 1})


def go_over(seen: Sight, *patches: tuple[int, int]):
    """Moves the mouse to the middle of one patch after the other."""
    for column, row in patches:
        seen.point("camera", (column + 0.5) / GRID, (row + 0.5) / GRID)


def drag(seen: Sight, first: tuple[int, int], *others: tuple[int, int]):
    """Presses at the first patch and goes over the others, without letting go."""
    go_over(seen, first)
    seen.page.mouse.down()
    go_over(seen, *others)


def is_outlined(seen: Sight) -> bool:
    """Whether patches of the image have an outline."""
    return seen.page.locator("#outline").evaluate("outline => !outline.hasAttribute('hidden')")
