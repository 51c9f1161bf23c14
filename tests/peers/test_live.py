"""The live page in Chromium: panels, pointing, keys, and what the page says when the node goes."""

import json

import numpy as np
import pytest
from live_browser import ALL_BLOBS, ENGINE, PANELS, Sight, sight
from live_page import TINY, Live
from PIL import Image as Pillow


@pytest.fixture(scope="module")
def node():
    with Live(*ENGINE) as made:
        yield made


@pytest.fixture
def seen(browser, node):
    with sight(browser, node.address.url) as made:
        made.wait_for_panels()
        yield made
        made.check_manners()


def test_every_panel_shows_the_folder(seen):
    assert "no" in seen.text("#warning") or "not" in seen.text("#warning")
    assert "pixio-tiny" in seen.text("#facts")
    seen.wait(lambda: seen.number("#rate-out") > 0, "a rate")
    seen.wait(lambda: seen.number("#shown-rate") > 0, "a rate of the page")
    assert "forward" in seen.text("#stages")
    assert "token" not in seen.page.url
    seen.wait(lambda: "floor" in seen.text("#legend"), "a legend")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_has_no_grave_fault(browser, node, scheme):
    with sight(browser, node.address.url, color_scheme=scheme) as seen:
        seen.wait_for_panels()
        assert seen.grave_faults() == []
        seen.page.locator("#depth [role=switch]").click()
        assert seen.grave_faults() == []


def test_canvases_say_what_they_show(seen):
    seen.wait(lambda: "metres" in label(seen, "#depth-map"), "depth in words")
    seen.wait(lambda: "floor" in label(seen, "#labels-map"), "labels in words")
    seen.wait(lambda: "degrees" in label(seen, "#cloud"), "points in words")
    assert label(seen, "#camera .image") == "The camera's image, 320 by 240 pixels"


def label(seen: Sight, selector: str) -> str:
    return seen.page.locator(selector).get_attribute("aria-label")


def test_only_what_is_shown_is_asked_for(seen):
    seen.wait_until_asked(*ALL_BLOBS)
    for key in "1345":
        seen.page.keyboard.press(key)
    seen.wait_until_asked("pca")
    assert "Switched off" in seen.text("#depth .empty")
    seen.page.keyboard.press("4")
    seen.wait_until_asked("depth", "image", "pca")
    seen.page.keyboard.press("1")
    seen.page.locator("#opacity").fill("0")
    seen.page.locator("#features [role=switch]").click()
    seen.wait_until_asked("depth", "image")
    seen.page.locator("h1").click()
    seen.page.keyboard.press("Space")
    seen.wait_until_asked()
    assert seen.text("#pause") == "Resume"
    seen.page.keyboard.press("Space")
    seen.wait_until_asked("depth", "image")


def test_every_float16_is_decoded(seen):
    bits = np.arange(65536, dtype=np.uint16)
    decoded = seen.page.evaluate(
        """async () => {
            const { floatsOfHalves } = await import('/scripts/protocol.js');
            const floats = floatsOfHalves(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
            return Array.from(new Uint32Array(floats.buffer));
        }"""
    )
    floats = np.array(decoded, np.uint32).view(np.float32)
    np.testing.assert_array_equal(floats, bits.view(np.float16).astype(np.float32))


# A camera of 320x240 in a model input of 256x256, letterboxed: 0.8 pixels each, 32 rows of border.
LETTERBOX = {
    "size": [320, 240],
    "model": [256, 256],
    "grid": [16, 16],
    "model_from_camera": [0.8, 0, -0.1, 0, 0.8, 31.9],
}
# Expressions of geometry.js over that frame, and their values.
GEOMETRY = [
    ("mapPixel(frame, [256, 256], [-0.49, -0.49])", [0, 32]),
    ("mapPixel(frame, [256, 256], [319.49, 239.49])", [255, 223]),
    ("mapPixel(frame, [256, 256], [0, -40.6])", None),
    ("mapPixel(frame, [16, 16], [159.4, 119.4])", [7, 7]),
    ("mapPixel(frame, [16, 16], [159.6, 119.6])", [8, 8]),
    ("mapPixel(frame, [128, 128], [0.8, 0])", [0, 16]),
    ("middleOfPatch(frame, [0, 2])", [9.5, 9.5]),
    ("Object.values(boxOfModel(frame))", [0, -1 / 6, 1, 4 / 3]),
    # 160 / tan(30 degrees) pixels of the camera
    ("intrinsics(frame)", [221.7025, 221.7025, 127.5, 127.5]),
    ("intrinsics({ ...frame, intrinsics: [1, 2, 3, 4] })", [1, 2, 3, 4]),
]


def test_whole_numbers_are_centres_of_pixels(seen):
    for expression, expect in GEOMETRY:
        found = seen.page.evaluate(
            f"""async (frame) => {{
                const geometry = await import('/scripts/geometry.js');
                const {{ boxOfModel, intrinsics, mapPixel, middleOfPatch }} = geometry;
                return {expression};
            }}""",
            LETTERBOX,
        )
        assert found == (expect and pytest.approx(expect, abs=1e-3)), expression


def test_refused_images_are_told(browser, node):
    def through(route):
        server = route.connect_to_server()
        server.on_message(lambda message: route.send(refusing(message)))

    with sight(browser, None) as seen:
        seen.page.route_web_socket("**/socket", through)
        seen.page.goto(node.address.url)
        seen.wait_for_notice("The node has refused images")


def test_a_running_node_has_a_list_of_its_cameras_and_no_sources_of_the_page(browser, node):
    chosen = []

    def through(route):
        server = route.connect_to_server()
        server.on_message(lambda message: route.send(as_node(message)))

        def hear(message: str | bytes):
            said = json.loads(message)
            if said["type"] == "look":
                chosen.append(said["camera"])
            # The real node has one camera only.
            server.send(json.dumps(said | {"camera": 0}) if said["type"] == "look" else message)

        route.on_message(hear)

    with sight(browser, None) as seen:
        seen.page.route_web_socket("**/socket", through)
        seen.page.goto(node.address.url)
        seen.wait_for_panels()
        assert seen.page.locator("#sources").is_hidden()
        assert seen.text("h1") == "Pixio /robot/pixio_node"
        seen.page.locator("#camera-index").select_option("left")
        seen.wait(lambda: chosen[-1:] == [1], "a look at the other camera")
        # Frames of the camera that was shown before are not taken for the new one's.
        seen.wait(lambda: "Waiting" in seen.text("#camera .empty"), "an empty panel")
        seen.page.locator("#camera-index").select_option("front")
        seen.wait_for_panels()
        seen.check_manners()


def as_node(message: str | bytes) -> str | bytes:
    if isinstance(message, str) and json.loads(message)["type"] == "hello":
        own = {"mode": "node", "node": "/robot/pixio_node", "cameras": ["front", "left"]}
        return json.dumps(json.loads(message) | own)
    return message


def refusing(message: str | bytes) -> str | bytes:
    """A node of which one more image was refused at every report."""
    if isinstance(message, bytes) or json.loads(message)["type"] != "status":
        return message
    status = json.loads(message)
    status["counts"]["refused"] += status["counts"]["received"]
    return json.dumps(status)


def test_a_hidden_tab_asks_for_nothing(seen):
    hide = "Object.defineProperty(document, 'hidden', {{ value: {}, configurable: true }});"
    changed = "document.dispatchEvent(new Event('visibilitychange'))"
    seen.page.evaluate(hide.format("true") + changed)
    seen.wait_until_asked()
    seen.page.evaluate(hide.format("false") + changed)
    seen.wait_until_asked(*ALL_BLOBS)


def test_heads_that_are_not_loaded_cost_nothing_and_their_panels_say_how_to_get_one(browser):
    with Live(*ENGINE, model=("--model", TINY)) as bare, sight(browser, bare.address.url) as seen:
        seen.wait_for_panels("camera", "features", "similarity")
        seen.wait_until_asked("image", "pca", "tokens")
        for panel in ("depth", "points"):
            assert "--depth-head FILE" in seen.text(f"#{panel} .empty")
        assert "--segmentation-head FILE" in seen.text("#legend")
        seen.check_manners()


def test_metres_and_class_stand_under_the_pointer(seen):
    seen.page.locator("h1").click()
    seen.page.keyboard.press("Space")
    seen.wait_until_asked()
    expect = seen.view("[view.frame.metersAt([80.2, 180.4]), view.frame.labelAt([80.2, 180.4])]")
    seen.point("camera", 80.7 / 320, 180.9 / 240)
    assert seen.text("#depth .reading") == f"{expect[0]:.2f} m"
    name = seen.view(f"view.hello.classes[{expect[1]}].name")
    assert name in seen.text("#camera .reading")


def test_hovering_compares_patches_and_a_click_pins_one(seen):
    seen.point("camera", 0.3, 0.7)
    seen.wait(lambda: seen.text("#compared").startswith("Patch 4, 11"), "the patch under the pointer")
    seen.page.mouse.down()
    seen.page.mouse.up()
    seen.wait_until_asked("depth", "image", "labels", "pca", "similarity")
    seen.wait(lambda: seen.text("#compared").startswith("Pinned patch 4, 11"), "the node's own comparison")
    seen.wait(lambda: seen.view("view.frame.similarity?.values[11 * 16 + 4] ?? 0") > 0.999, "its cosine")
    seen.page.keyboard.press("Escape")
    seen.wait_until_asked(*ALL_BLOBS)
    seen.wait(lambda: seen.text("#compared").startswith("Patch 4, 11"), "the pointer again")


def test_the_keys_move_the_cursor_and_turn_the_points(seen):
    seen.page.locator("#similarity .stage").focus()
    seen.page.keyboard.press("ArrowLeft")
    seen.wait(lambda: seen.text("#compared").startswith("Patch 7, 8"), "a patch beside the middle")
    seen.page.keyboard.press("Enter")
    seen.wait(lambda: seen.text("#compared").startswith("Pinned patch 7, 8"), "a pinned patch")
    seen.page.keyboard.press("Escape")
    before = label(seen, "#cloud")
    seen.page.locator("#cloud").focus()
    seen.page.keyboard.press("ArrowRight")
    seen.wait(lambda: label(seen, "#cloud") != before, "turned points")


def test_a_panel_is_saved_as_it_is_seen(seen, tmp_path):
    for panel in PANELS:
        with seen.page.expect_download() as download:
            seen.page.locator(f"#{panel} [data-do=save]").click()
        assert download.value.suggested_filename.startswith(f"pixio-{panel}-")
        download.value.save_as(tmp_path / "panel.png")
        pixels = np.asarray(Pillow.open(tmp_path / "panel.png").convert("RGB"))
        assert pixels.std() > 10, panel


def test_one_panel_fills_the_screen(seen):
    seen.page.locator("#depth [data-do=enlarge]").click()
    seen.wait(lambda: seen.page.evaluate("document.fullscreenElement?.id") == "depth", "full screen")
    seen.page.keyboard.press("f")
    seen.wait(lambda: seen.page.evaluate("document.fullscreenElement") is None, "the page again")


def test_a_phone_shows_one_column(browser, node):
    with sight(browser, None) as seen:
        seen.page.set_viewport_size({"width": 390, "height": 844})
        seen.page.goto(node.address.url)
        seen.wait_for_panels()
        boxes = [seen.page.locator(f"#{panel}").bounding_box() for panel in (*PANELS, "model")]
        assert len({box["x"] for box in boxes}) == 1
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert seen.grave_faults() == []


def test_resetting_the_components_is_answered(seen):
    seen.page.locator("#reset-basis").click()
    seen.wait(lambda: {"type": "reset_basis"} in seen.said, "the reset")
    seen.wait(lambda: seen.notices() != "", "the node's answer")
    seen.wait_for_panels("features")


def test_a_dropped_connection_comes_back(browser, node):
    routes = []

    def through(route):
        route.connect_to_server()
        routes.append(route)

    with sight(browser, None) as seen:
        seen.page.route_web_socket("**/socket", through)
        seen.page.goto(node.address.url)
        seen.wait_for_panels()
        routes[0].close(code=3000, reason="cut by the test")
        seen.wait_for_notice("The connection is lost: cut by the test")
        seen.wait(lambda: len(routes) == 2, "another connection")
        seen.wait(lambda: seen.notices() == "", "the notice's end")
        seen.wait_for_frames()
        seen.check_manners()


def test_after_a_restart_the_page_asks_for_the_new_address(browser):
    with Live(*ENGINE) as first, sight(browser, first.address.url) as seen:
        seen.wait_for_panels()
        assert first.stop() == 0, first.tail()
        seen.wait_for_notice("The node does not answer")
        with Live(*ENGINE, port=first.port) as second:
            seen.wait_for_notice("open the address that the node printed")
            seen.page.goto(second.address.url)
            seen.wait_for_panels()
            assert seen.hosts <= {"127.0.0.1"}


def test_another_version_of_the_protocol_is_told(browser, node):
    def through(route):
        server = route.connect_to_server()
        server.on_message(lambda message: route.send(newer(message)))

    with sight(browser, None) as seen:
        seen.page.route_web_socket("**/socket", through)
        seen.page.goto(node.address.url)
        seen.wait_for_notice("another version")


def newer(message: str | bytes) -> str | bytes:
    if isinstance(message, str) and json.loads(message)["type"] == "hello":
        return json.dumps(json.loads(message) | {"version": 99})
    return message


def test_a_letterboxed_model_input_lies_where_the_camera_saw_it(browser):
    with Live(*ENGINE, "--fit", "letterbox") as boxed, sight(browser, boxed.address.url) as seen:
        seen.wait_for_panels()
        stage, image, depth = (
            seen.page.locator(selector).bounding_box()
            for selector in ("#depth .stage", "#camera .image", "#depth-map")
        )
        assert stage["width"] / stage["height"] == pytest.approx(320 / 240, rel=0.01)
        # The model input is a square of 320 pixels of the camera, around the middle of 240.
        for box, column in ((image, "camera"), (depth, "depth")):
            assert box["height"] == pytest.approx(box["width"], rel=0.01), column
            assert box["width"] == pytest.approx(stage["width"], rel=0.01), column
        above = stage["y"] - depth["y"]
        assert above == pytest.approx(stage["width"] * 40 / 320, abs=1.5)
        seen.check_manners()


def test_random_weights_have_a_warning_of_their_own(browser):
    with Live(model=("--model", "random:tiny")) as bare, sight(browser, bare.address.url) as seen:
        seen.wait_for_panels("camera", "features")
        assert "random" in seen.text("#warning")
