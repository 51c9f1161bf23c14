"""Images of the page itself: what its canvases show is what `infer` makes of the JPEG files that it has sent.
Cameras that are refused, missing or taken over have their sentence."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from live_browser import (
    BROWSER_OPTIONS,
    ENGINE,
    Sight,
    browser_path,
    canvas,
    for_docs,
    photograph,
    sight,
    y4m,
)
from live_page import TINY_WITH_HEADS, Live
from node_process import ROOT, run
from PIL import Image as Pillow
from playwright.sync_api import sync_playwright
from safetensors.numpy import load_file
from waiting import until

WALK = sorted((ROOT / "data" / "room-walk" / "rgb").glob("*.jpg"))
# Chromium's own moving pattern is the camera where no video is.
DEVICE = "--use-fake-device-for-media-stream"
# Without this nobody is there to allow it.
ALLOWED = "--use-fake-ui-for-media-stream"


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as made:
        yield made


@contextmanager
def browser(playwright, *options: str):
    made = playwright.chromium.launch(executable_path=browser_path(), args=[*BROWSER_OPTIONS, *options])
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def plain(playwright):
    """A browser that has no camera and would ask before it gave one."""
    with browser(playwright) as made:
        yield made


@pytest.fixture(scope="module")
def walking(playwright, tmp_path_factory):
    """A browser whose camera walks through the room."""
    images = [np.asarray(Pillow.open(file).convert("RGB")) for file in WALK]
    video = y4m(tmp_path_factory.mktemp("camera") / "walk.y4m", images)
    with browser(playwright, DEVICE, ALLOWED, f"--use-file-for-fake-video-capture={video}") as made:
        yield made


@pytest.fixture(scope="module")
def basis(tmp_path_factory) -> Path:
    """A basis of principal components, which a node has estimated of its first images."""
    kept = tmp_path_factory.mktemp("basis") / "basis.safetensors"
    with Live(*ENGINE) as node, node.address.open() as page:
        page.look("pca")

        def saved() -> list[Path]:
            page.frame()
            return list(Path(node.cache.name).rglob("pca/*.safetensors"))

        shutil.copy(until(saved, "a basis", log=node.tail)[0], kept)
    return kept


@pytest.fixture(scope="module")
def node(basis):
    with Live(*ENGINE, "--pca-basis", basis) as made:
        yield made


def pause(seen: Sight):
    seen.page.locator("#pause").click()
    seen.wait_until_asked()


def wait_until_own(seen: Sight):
    """Waits until the page shows an image that it has sent."""
    seen.wait(lambda: seen.stamp() in seen.images, "an image of the page itself")


def check_against_infer(seen: Sight, folder: Path, basis: Path, *options: str):
    """The page is paused; its canvases are compared with what `infer` makes of the JPEG file that it sent."""
    stamp = seen.stamp()
    jpeg = folder / "sent.jpg"
    jpeg.write_bytes(seen.images[stamp])
    own = ("--image", jpeg, "--out", folder, "--pca-basis", basis, *options)
    done = run("infer", *TINY_WITH_HEADS, "--device", "cpu", *ENGINE, *own)
    assert done.returncode == 0, done.stderr
    expect = load_file(folder / "sent.safetensors")

    colors = np.asarray(Pillow.open(folder / "sent.pca.png").convert("RGB"))
    shown = canvas(seen, "pca-map")
    assert shown.shape[:2] == colors.shape[:2]
    assert np.abs(shown[..., :3].astype(int) - colors).max() <= 2
    assert (shown[..., 3] == 255).all()

    depth = seen.view("({ scale: view.frame.depth.scale, values: Array.from(view.frame.depth.values) })")
    meters = np.array(depth["values"], float).reshape(expect["depth"].shape) * depth["scale"]
    seen_by_model = np.isfinite(expect["depth"])
    assert ((meters > 0) == seen_by_model).all()
    away = np.abs(meters - expect["depth"])[seen_by_model]
    assert away.max() <= depth["scale"] / 2 + 1e-4

    # The colour of the metres, or its neighbour where the metres lie between two.
    colors = np.array(seen.view("view.hello.depth.colors"))
    last = len(colors) - 1
    exact = np.nan_to_num(expect["depth"]) / seen.view("view.frame.depth.max") * last
    near = [colors[np.clip(np.round(exact + by), 0, last).astype(int)] for by in (-0.6, 0, 0.6)]
    shown = canvas(seen, "depth-map")
    assert np.any([(shown[..., :3] == one).all(-1) for one in near], axis=0)[seen_by_model].all()
    assert ((shown[..., 3] == 255) == seen_by_model).all()

    # The borders of a letterbox have no class, and no colour either.
    palette = np.zeros((256, 4), np.uint8)
    classes = np.array(seen.view("view.hello.classes.map(one => one.color)"))
    palette[: len(classes)] = np.insert(classes, 3, 255, axis=1)
    assert (canvas(seen, "labels-map") == palette[expect["labels"].astype(int)]).all()

    # What hovering compares are the tokens as float16, of length 1.
    tokens = expect["patch_tokens"].reshape(-1, expect["patch_tokens"].shape[-1])
    directions = np.array(seen.view("Array.from(view.frame.directions.values)")).reshape(tokens.shape)
    assert np.abs(directions - tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).max() < 1e-3

    # The image that lies under the maps is the one that was sent.
    size = Pillow.open(jpeg).size
    assert tuple(seen.view("view.frame.size")) == size
    assert tuple(seen.view("[view.frame.image.width, view.frame.image.height]")) == size


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_a_chosen_image_is_shown_as_infer_sees_it(plain, basis, tmp_path, fit):
    with Live(*ENGINE, "--pca-basis", basis, "--fit", fit) as node, sight(plain, node.address.url) as seen:
        seen.wait_for_panels()
        seen.page.set_input_files("#file", WALK[7])
        wait_until_own(seen)
        seen.wait_for_panels()
        pause(seen)
        check_against_infer(seen, tmp_path, basis, "--fit", fit)
        seen.check_manners()


def test_a_camera_is_shown_as_infer_sees_it(walking, node, basis, tmp_path):
    with sight(walking, node.address.url) as seen:
        seen.page.locator("#use-camera").click()
        wait_until_own(seen)
        seen.wait_for_panels()
        for turn in range(3):
            seen.wait_for_frames()
            pause(seen)
            (tmp_path / str(turn)).mkdir()
            check_against_infer(seen, tmp_path / str(turn), basis)
            seen.page.locator("#pause").click()
        seen.check_manners()


def test_a_camera_flows_and_its_times_and_losses_are_told(walking, node):
    with sight(walking, node.address.url) as seen:
        seen.page.locator("#use-camera").click()
        wait_until_own(seen)
        assert seen.page.locator("#use-camera").get_attribute("aria-pressed") == "true"
        seen.wait_for_frames(10)
        seen.wait(lambda: seen.number("#latency") > 0, "the latency")
        # The camera shows 30 images a second, more than this model takes on one thread with this browser.
        seen.wait(lambda: seen.number("#count-left_out") > 0, "images that were left out")
        counts = {name: seen.number(f"#count-{name}") for name in ("received", "published")}
        assert counts["published"] <= counts["received"]
        stamps = sorted(seen.images)
        assert len(set(stamps)) == len(stamps)
        seen.page.locator("#use-folder").click()
        seen.wait(lambda: seen.stamp() not in seen.images, "the folder again")
        assert {"type": "source", "kind": "folder"} in seen.said
        seen.check_manners()


def test_one_image_at_most_is_sent_for_each_next(walking, node):
    """Counted where the messages pass, in their order."""
    asked, sent = [], []

    def through(route):
        server = route.connect_to_server()

        def hear(message: str | bytes):
            if isinstance(message, str) and json.loads(message)["type"] == "next":
                asked.append(message)
            route.send(message)

        def say(message: str | bytes):
            if isinstance(message, bytes):
                sent.append(len(asked))
            server.send(message)

        server.on_message(hear)
        route.on_message(say)

    with sight(walking, None) as seen:
        seen.page.route_web_socket("**/socket", through)
        seen.page.goto(node.address.url)
        seen.wait_for_panels()
        seen.page.locator("#use-camera").click()
        seen.wait(lambda: len(sent) >= 10, "ten images")
    assert all(n_sent <= n_asked for n_sent, n_asked in enumerate(sent, start=1)), sent


def test_a_refused_camera_is_told(playwright, node):
    with browser(playwright, DEVICE) as made, sight(made, node.address.url) as seen:
        seen.wait_for_panels("camera")
        seen.page.locator("#use-camera").click()
        seen.wait_for_notice("The browser may not use the camera")
        seen.wait_for_frames()


def test_a_missing_camera_is_told(playwright, node):
    with browser(playwright, ALLOWED) as made, sight(made, node.address.url) as seen:
        seen.wait_for_panels("camera")
        seen.page.locator("#use-camera").click()
        seen.wait_for_notice("No camera was found")


# What the browser's function fails with, and what the page says.
FAILURES = [
    ("NotReadableError", "The camera is busy"),
    ("AbortError", "did not start"),
    ("OverconstrainedError", "That camera is gone"),
    ("TypeError", "The camera failed: made by the test"),
]


@pytest.mark.parametrize(("name", "says"), FAILURES, ids=[name for name, _ in FAILURES])
def test_a_camera_that_fails_is_told(plain, node, name, says):
    fails = f"async () => {{ throw new DOMException('made by the test', '{name}') }}"
    with sight(plain, None) as seen:
        seen.page.add_init_script(f"navigator.mediaDevices.getUserMedia = {fails}")
        seen.page.goto(node.address.url)
        seen.wait_for_panels("camera")
        seen.page.locator("#use-camera").click()
        seen.wait_for_notice(says)


def test_a_page_that_is_not_on_localhost_tells_how_to_get_there(plain, node):
    with sight(plain, None) as seen:
        seen.page.add_init_script(
            "Object.defineProperty(navigator, 'mediaDevices', { value: undefined });"
            "Object.defineProperty(window, 'isSecureContext', { value: false });"
        )
        seen.page.goto(node.address.url)
        seen.wait_for_panels("camera")
        seen.page.locator("#use-camera").click()
        seen.wait_for_notice(f"ssh -L {node.port}:127.0.0.1:{node.port} ROBOT")


def test_a_file_that_is_no_image_is_told(plain, node, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    with sight(plain, node.address.url) as seen:
        seen.wait_for_panels("camera")
        for name, kinds in (("broken.mp4", "MP4 or WebM"), ("broken.png", "JPEG, PNG or WebP")):
            seen.page.set_input_files("#file", tmp_path / name)
            seen.wait_for_notice(f"The browser cannot read {name}. Try {kinds}.")
        seen.wait_for_frames()
        assert seen.images == {}


def test_a_second_page_looks_on_and_takes_over(walking, node):
    with sight(walking, node.address.url) as first, sight(walking, node.address.url) as second:
        first.page.locator("#use-camera").click()
        wait_until_own(first)
        # The first page's images are the second page's, too: as the node sends them.
        second.wait(lambda: second.stamp() in first.images, "an image of the other page")
        assert second.view("view.frame.has('image')") and not first.view("view.frame.has('image')")
        first.wait(lambda: first.number("#count-pages") == 2, "two pages")
        second.page.locator("#use-camera").click()
        first.wait_for_notice("Another page feeds the node now")
        wait_until_own(second)
        first.page.get_by_role("button", name="Feed again").click()
        second.wait_for_notice("Another page feeds the node now")
        newest = max(first.images)
        first.wait(lambda: (first.stamp() or (0, 0)) > newest and first.stamp() in first.images, "own images")
        for page in (first, second):
            page.check_manners()


@for_docs
@pytest.mark.parametrize(
    ("name", "scheme", "width", "height"),
    [("live-page.png", "dark", 1280, 820), ("live-phone.png", "light", 390, 844)],
)
def test_the_pages_of_the_docs_are_photographed(walking, name, scheme, width, height):
    with Live() as node, sight(walking, None, color_scheme=scheme) as seen:
        seen.page.set_viewport_size({"width": width, "height": height})
        seen.page.goto(node.address.url)
        seen.page.locator("#use-camera").click()
        wait_until_own(seen)
        seen.wait_for_panels()
        seen.wait_for_frames(40)
        seen.point("camera", 0.42, 0.6)
        seen.wait_for_frames()
        photograph(seen, name)
