"""The page's bar for teaching in Chromium: strokes, keys, touch, undo, forgetting, refusals, reconnection,
and heads that are saved and loaded."""

import shutil

import pytest
from live_browser import ENGINE, Sight, for_docs, photograph, sight
from live_lessons import (
    GRID,
    TRUE,
    WALK,
    add_class,
    choose,
    click,
    counts,
    drag,
    go_over,
    is_outlined,
    opened,
    pixel,
    taught,
    teach,
    true_pixels,
    wait_for_counts,
)
from live_page import TINY, Live

# Middles of patches of an image of 320x240, in patches.
WALL, FLOOR = (8, 3), (8, 14)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Where the node keeps heads."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def node(data):
    options = ("--teaching", "true", "--exemplars-per-class", GRID * GRID)
    env = {"XDG_DATA_HOME": str(data)}
    with Live(*ENGINE, *options, model=("--model", TINY), env=env) as made:
        yield made


@pytest.fixture
def blank(node):
    """A node that remembers no exemplar; the classes' numbers stay."""
    with node.address.open() as page:
        page.say("forget", **{"class": ""})
        page.text("notice")
    return node


@pytest.fixture
def seen(browser, blank):
    with opened(browser, blank) as made:
        yield made


def test_a_node_that_is_not_taught_has_no_bar(browser):
    with Live(*ENGINE) as other, sight(browser, other.address.url) as seen:
        seen.wait_for_panels()
        assert seen.page.locator("#teaching").is_hidden() and "undo" not in seen.text(".keys")
        for key in "tu":
            seen.page.keyboard.press(key)
        seen.point("camera", 0.5, 0.5)
        seen.page.mouse.down()
        seen.page.mouse.up()
        seen.wait(lambda: any(said["type"] == "query" for said in seen.said), "a query")
        assert not taught(seen) and not is_outlined(seen)
        seen.check_manners()


def test_clicks_point_until_a_class_is_chosen(seen):
    click(seen, *pixel(WALL))
    seen.wait(lambda: any(said["type"] == "query" for said in seen.said), "a query")
    seen.page.locator("#teach-mode").click()
    click(seen, *pixel(WALL))
    seen.wait_for_notice("Add a class or choose one")
    assert not taught(seen)
    teach(seen, "wall", WALL)
    assert taught(seen)[-1]["pixels"] == [list(pixel(WALL))]
    seen.page.locator("#point-mode").click()
    n_queries = sum(said["type"] == "query" for said in seen.said)
    click(seen, *pixel(FLOOR))
    seen.wait(lambda: sum(said["type"] == "query" for said in seen.said) > n_queries, "a query again")
    assert len(taught(seen)) == 1


def test_labels_begin_with_the_second_class_and_end_with_it(seen):
    assert "Name a class and click" in seen.text("#next-step")
    teach(seen, "wall", WALL)
    seen.wait(lambda: "Point at a second class" in seen.text("#next-step"), "what to do next")
    assert seen.page.locator("#labels-map").is_hidden()
    teach(seen, "floor", FLOOR)
    seen.wait(lambda: seen.page.locator("#labels-map").is_visible(), "labels")
    seen.wait(lambda: {"wall", "floor"} <= set(seen.text("#legend").split("\n")), "the legend")
    assert seen.text("#taught").startswith("2 exemplars, learnt in ")
    seen.wait(lambda: "floor" in seen.text("#next-step"), "the node's answer")
    assert not seen.notices()
    seen.page.locator("#undo").click()
    wait_for_counts(seen, wall=1, floor=0)
    seen.wait(lambda: seen.page.locator("#labels-map").is_hidden(), "no labels")
    seen.page.keyboard.press("u")
    wait_for_counts(seen, wall=0, floor=0)


def test_a_stroke_is_of_the_image_that_it_was_begun_on(seen):
    add_class(seen, "wall")
    drag(seen, (4, 3))
    number = seen.view("view.frame.frame")
    # The node goes on meanwhile.
    n_reports = len(seen.told("status")) + 2
    seen.wait(lambda: len(seen.told("status")) >= n_reports, "reports of the node")
    assert seen.view("view.frame.frame") == number and is_outlined(seen)
    assert taught(seen) == []
    # From one place of the pointer to the next no patch is left out.
    go_over(seen, (9, 3), (9, 5))
    seen.page.mouse.up()
    wait_for_counts(seen, wall=8)
    path = [(x, 3) for x in range(4, 10)] + [(9, 4), (9, 5)]
    assert taught(seen) == [
        {"type": "teach", "frame": number, "class": "wall", "pixels": [list(pixel(patch)) for patch in path]}
    ]
    seen.wait(lambda: seen.view("view.frame.frame") > number, "newer frames")


def test_only_what_the_model_sees_of_the_image_is_taught(browser):
    model = ("--model", TINY, "--teaching", "true")
    with Live(*ENGINE, "--fit", "crop", model=model) as node, opened(browser, node) as seen:
        assert seen.page.locator("#undo").is_disabled()
        seen.page.keyboard.press("u")
        seen.wait_for_notice("nothing was changed: there is nothing to take back")
        add_class(seen, "wall")
        click(seen, 5, 120)
        seen.wait_for_notice("The model does not look at this place")
        assert not taught(seen)
    # The image ends within a row of patches, whose middle lies in the border of the letterbox.
    letterbox = ("--fit", "letterbox", "--size", "240x240")
    with Live(*ENGINE, *letterbox, model=model) as node, opened(browser, node) as seen:
        add_class(seen, "wall")
        click(seen, 160, 0)
        wait_for_counts(seen, wall=1)
        assert taught(seen)[0]["pixels"] == [[159.5, -0.49]]


def test_a_long_stroke_goes_in_several_messages(seen):
    add_class(seen, "wall")
    rows = [((0, row), (GRID - 1, row)) for row in range(GRID)]
    drag(seen, *(end for number, row in enumerate(rows) for end in (row if number % 2 == 0 else row[::-1])))
    seen.page.mouse.up()
    wait_for_counts(seen, wall=GRID * GRID)
    sent = taught(seen)
    assert [len(one["pixels"]) for one in sent] == [150, GRID * GRID - 150]
    assert len({tuple(pixel) for one in sent for pixel in one["pixels"]}) == GRID * GRID


def test_escape_drops_a_stroke(seen):
    add_class(seen, "wall")
    drag(seen, (4, 3), (9, 3))
    seen.page.keyboard.press("Escape")
    seen.page.mouse.up()
    seen.wait_for_frames()
    assert not taught(seen)


def test_keys_choose_a_class_and_teach_the_patch_under_the_cursor(seen):
    for name in ("wall", "floor"):
        add_class(seen, name)
    names = list(counts(seen))
    seen.page.locator("#camera .stage").focus()
    seen.page.keyboard.press(str(names.index("wall")))
    seen.page.keyboard.press("ArrowUp")
    seen.page.keyboard.press("Enter")
    wait_for_counts(seen, wall=1)
    seen.page.keyboard.press("0")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        seen.page.keyboard.press(key)
    wait_for_counts(seen, wall=1, other=1)
    assert [one["class"] for one in taught(seen)] == ["wall", "other"]
    assert [one["pixels"] for one in taught(seen)] == [[list(pixel((8, 7)))], [list(pixel((8, 9)))]]
    # Digits are the panels' again.
    seen.page.keyboard.press("t")
    seen.page.keyboard.press("2")
    seen.wait(lambda: "Switched off" in seen.text("#features .empty"), "a panel that is off")


def test_letters_in_a_name_are_no_keys(seen):
    seen.page.locator("#class-name").press_sequentially("fusst 13")
    assert seen.page.evaluate("document.fullscreenElement") is None
    assert seen.page.locator("#depth [role=switch]").get_attribute("aria-checked") == "true"
    assert seen.page.locator("#teach-mode").get_attribute("aria-pressed") == "false"
    seen.page.keyboard.press("Enter")
    assert "fusst 13" in counts(seen)
    # The node does not know it yet, and the page forgets it at once.
    seen.page.locator("#forget-class").click()
    assert "fusst 13" not in counts(seen)


def test_after_a_class_is_named_keys_are_for_the_image(seen):
    add_class(seen, "wall")
    seen.page.keyboard.press("ArrowUp")
    seen.page.keyboard.press("Enter")
    wait_for_counts(seen, wall=1)
    for key in "0tu":
        seen.page.keyboard.press(key)
    wait_for_counts(seen, wall=0)
    assert seen.page.locator("#class-name").input_value() == ""
    assert seen.page.locator('#palette [value="other"]').is_checked()
    assert seen.page.locator("#teach-mode").get_attribute("aria-pressed") == "false"


def test_a_key_that_is_held_down_teaches_one_patch(seen):
    seen.point("camera", 0.5, 0.2)
    seen.page.locator("#class-name").fill("wall")
    for _ in range(4):
        seen.page.keyboard.down("Enter")
    seen.page.keyboard.up("Enter")
    seen.wait_for_frames()
    assert not taught(seen)
    seen.page.keyboard.press("Enter")
    wait_for_counts(seen, wall=1)


def test_undo_brings_back_what_was_forgotten(seen):
    teach(seen, "wall", WALL)
    teach(seen, "floor", FLOOR)
    seen.page.locator("#forget-class").click()
    seen.page.locator("#agree").click()
    wait_for_counts(seen, wall=1, floor=0)
    seen.page.locator("#undo").click()
    wait_for_counts(seen, wall=1, floor=1)
    seen.page.locator("#forget-all").click()
    seen.page.locator("#agree").click()
    wait_for_counts(seen, wall=0, floor=0)
    seen.page.locator("#undo").click()
    wait_for_counts(seen, wall=1, floor=1)
    seen.wait(lambda: seen.page.locator("#labels-map").is_visible(), "labels again")
    seen.page.locator("#undo").click()
    wait_for_counts(seen, wall=1, floor=0)


def test_forgetting_asks_first(seen):
    teach(seen, "wall", WALL)
    teach(seen, "floor", FLOOR)
    seen.page.locator("#forget-class").click()
    assert seen.text("#question") == "Forget 1 exemplar of floor?"
    seen.page.get_by_role("button", name="Cancel").click()
    seen.page.locator("#forget-class").click()
    seen.page.keyboard.press("Escape")
    assert not any(said["type"] == "forget" for said in seen.said)
    seen.page.locator("#forget-class").click()
    seen.page.locator("#agree").click()
    wait_for_counts(seen, wall=1, floor=0)
    teach(seen, "floor", FLOOR)
    seen.page.locator("#forget-all").click()
    assert seen.text("#question") == "Forget 2 exemplars of all classes?"
    seen.page.locator("#agree").click()
    wait_for_counts(seen, wall=0, floor=0)
    assert seen.page.locator("#forget-all").is_disabled()


def test_names_that_the_node_refuses_are_told(seen, data):
    before = set(data.rglob("*"))
    add_class(seen, "\x1b[31mred")
    click(seen, *pixel(WALL))
    seen.wait_for_notice('"\\u{1b}[31mred" was not taught: ')
    seen.wait_for_notice("has the character U+001B, which cannot be seen")
    teach(seen, "wall", WALL)
    teach(seen, "floor", FLOOR)
    for name in ("../../door", "a/b", "ä", ""):
        seen.page.locator("#head-name").fill(name)
        seen.page.locator("#head-name").press("Enter")
        seen.wait(lambda name=name: {"type": "save_head", "name": name} in seen.said, "the request")
        seen.wait_for_notice(f'the head "{name}" was not saved: a head\'s name has')
        seen.page.get_by_role("button", name="Dismiss").first.click()
    assert set(data.rglob("*")) == before


def test_every_refusal_names_what_was_not_done(blank):
    with blank.address.open() as page:
        page.text("teaching")
        page.look("image")
        number = page.frame().about["frame"]
        inside = [[5.0, 5.0]]

        def check(expect: str, kind: str, **content):
            page.say(kind, **content)
            answer = page.text("notice")
            assert answer["level"] == "warning" and expect in answer["text"], answer
            assert answer["teaching"] is True

        teach = {"class": "door", "frame": number, "pixels": inside}
        unseen = '"door" was not taught: the model sees nothing at (999, 5) of an image of 320x240'
        check(unseen, "teach", **teach | {"pixels": [[999.0, 5.0]]})
        check('"door" was not taught: 0 pixels were given', "teach", **teach | {"pixels": []})
        gone = '"door" was not taught: the image that was pointed at is gone'
        check(gone, "teach", **teach | {"frame": number + 1000})
        check('"lamp" was not forgotten: there is no class "lamp"', "forget", **{"class": "lamp"})
        check('the head "none" was not loaded: exemplars', "load_head", name="none")
        check('the head "a/b" was not saved: a head\'s name', "save_head", name="a/b")
        # This one is not about teaching.
        page.say("reset_basis")
        assert "teaching" not in page.text("notice")
        page.say("look", camera=7, panels=["image"])
        assert page.ended()[1] == "There is no such camera or source."


def test_one_class_too_many_is_told(browser):
    with Live(*ENGINE, model=("--model", "random:tiny", "--teaching", "true")) as node:
        with node.address.open() as page:
            page.text("teaching")
            page.look("image")
            number = page.frame(drawn=False).about["frame"]
            for name in range(1, 255):
                teach = {"class": f"class {name}", "frame": number, "pixels": [[5.0, 5.0]]}
                page.say("teach", **teach)
                assert page.text("notice")["level"] == "info"
        with opened(browser, node) as seen:
            add_class(seen, "one more")
            click(seen, *pixel(WALL))
            seen.wait_for_notice('"one more" was not taught: there are 255 classes')


def test_what_was_taught_is_there_after_a_lost_connection_and_in_other_pages(browser, blank):
    routes = []

    def through(route):
        route.connect_to_server()
        routes.append(route)

    with opened(browser, blank) as other, sight(browser, None) as seen:
        seen.page.route_web_socket("**/socket", through)
        seen.page.goto(blank.address.url)
        seen.wait_for_panels("camera")
        seen.wait(lambda: "other" in counts(seen), "the palette")
        teach(seen, "wall", WALL)
        teach(seen, "floor", FLOOR)
        wait_for_counts(other, wall=1, floor=1)
        routes[0].close(code=3000, reason="cut by the test")
        seen.wait(lambda: len(routes) == 2, "another connection")
        seen.wait_for_frames()
        wait_for_counts(seen, wall=1, floor=1)
        # The class is still chosen, and the page still teaches.
        click(seen, *pixel(FLOOR))
        wait_for_counts(seen, wall=1, floor=2)
        seen.page.reload()
        seen.wait(lambda: counts(seen).get("floor") == 2, "the palette again")
        seen.check_manners()


def test_a_saved_head_is_loaded_again(seen, data):
    teach(seen, "wall", WALL)
    teach(seen, "floor", FLOOR)
    save(seen, "first-room")
    seen.wait(lambda: "first-room.safetensors" in seen.text("#next-step"), "the answer")
    assert (data / "pixio_node" / "heads" / "first-room.safetensors").is_file()
    seen.wait(lambda: heads(seen) == ["first-room"], "a head to load")
    teach(seen, "wall", (3, 3))
    save(seen, "first-room")
    assert seen.text("#question") == "Replace the saved head first-room?"
    seen.page.get_by_role("button", name="Cancel").click()
    seen.page.locator("#load-head button").click()
    assert seen.text("#question") == "Go on with the head first-room instead of 3 exemplars?"
    seen.page.locator("#agree").click()
    wait_for_counts(seen, wall=1, floor=1)


def save(seen: Sight, name: str):
    seen.page.locator("#head-name").fill(name)
    seen.page.locator("#save-head button").click()


def heads(seen: Sight) -> list[str]:
    return seen.page.locator("#heads option").all_inner_texts()


def test_a_finger_taps_and_draws(browser, blank):
    with opened(browser, blank, has_touch=True) as seen:
        seen.page.set_viewport_size({"width": 390, "height": 844})
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
        add_class(seen, "wall")
        stage = seen.page.locator("#camera .stage")
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()

        def at(patch: tuple[int, int]) -> dict[str, float]:
            return {
                "x": box["x"] + (patch[0] + 0.5) / GRID * box["width"],
                "y": box["y"] + (patch[1] + 0.5) / GRID * box["height"],
            }

        seen.page.touchscreen.tap(*at(WALL).values())
        wait_for_counts(seen, wall=1)
        finger = seen.page.context.new_cdp_session(seen.page)
        scrolled = seen.page.evaluate("scrollY")
        for kind, points in [("Start", [at((2, 5))]), ("Move", [at((2, 9))]), ("End", [])]:
            finger.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
        wait_for_counts(seen, wall=6)
        assert seen.page.evaluate("scrollY") == scrolled
        assert seen.grave_faults() == []


@pytest.mark.parametrize(
    "appearance",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"forced_colors": "active"}],
    ids=["light", "dark", "forced colours"],
)
def test_accessibility_has_no_grave_fault(browser, blank, appearance):
    with opened(browser, blank, **appearance) as seen:
        teach(seen, "wall", WALL)
        assert seen.grave_faults() == []
        seen.page.locator("#forget-all").click()
        assert seen.grave_faults() == []
        seen.page.keyboard.press("Escape")
        # Colours stand for classes also where the system has colours of its own.
        swatch = seen.page.locator('#palette label:has([value="wall"]) i')
        color = seen.view("view.classes.find(({ name }) => name === 'wall').color")
        assert (
            swatch.evaluate("i => getComputedStyle(i).backgroundColor")
            == f"rgb({', '.join(map(str, color))})"
        )


def test_the_chosen_class_is_seen_and_heard(seen):
    teach(seen, "wall", WALL)
    choose(seen, "other")
    chosen = seen.page.locator("#palette input:checked")
    assert chosen.get_attribute("aria-label") == "other, 0 exemplars"
    assert "none of the other classes" in seen.page.locator("#palette label").first.get_attribute("title")
    assert seen.text("#spoken") == "Clicks teach other"
    stage = seen.page.locator("#camera .stage")
    assert "Enter teaches the patch" in stage.get_attribute("aria-label")


@for_docs
def test_the_page_of_the_docs_is_photographed(browser, tmp_path):
    frame = 46
    shutil.copy(WALK / "rgb" / f"scene0000_frame{frame:04}.jpg", tmp_path)
    shutil.copy(WALK / "camera.yaml", tmp_path)
    options = (*ENGINE, "--teaching", "true", "--folder", tmp_path)
    model = ("--model", TINY, "--depth-head", TINY / "depth.safetensors")
    with Live(*options, model=model) as node, opened(browser, node) as seen:
        for name in TRUE:
            add_class(seen, name)
            for pixel in true_pixels(frame, name, 4):
                click(seen, *pixel)
            wait_for_counts(seen, **{name: 4})
        seen.wait_for_panels("features", "depth", "points")
        drag(seen, (6, 9), (9, 9), (9, 10))
        photograph(seen, "live-teaching.png")
        seen.page.mouse.up()
