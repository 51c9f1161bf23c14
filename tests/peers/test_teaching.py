"""A node that is taught: the services, what its segmentation says then, and the heads that it saves."""

import math
import time

import images
import numpy as np
import pytest
import yaml
from node_process import ROOT, run
from offline import infer, labels_agree
from peer import latched, nanos, qos
from PIL import Image as Pillow
from pixio_node.srv import SaveHead, Teach
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo
from waiting import until

TINY = ROOT / "models" / "pixio-tiny"
ENGINE = ("--engine", "eager", "--threads", "1")
WALK = ROOT / "data" / "room-walk"
FRAMES = sorted((WALK / "rgb").glob("*.jpg"))
CLASSES = [entry["name"] for entry in yaml.safe_load((WALK / "classes.yaml").read_text())["classes"]]
UNLABELLED = 255


def frame(number: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of the walk and its true labels."""
    path = FRAMES[number]
    truth = np.asarray(Pillow.open(WALK / "labels" / f"{path.stem}.png"))
    return np.asarray(Pillow.open(path).convert("RGB")), truth


def large(truth: np.ndarray) -> list[str]:
    """Classes of more than a few patches."""
    return [name for number, name in enumerate(CLASSES) if (truth == number).sum() > 3000]


def clicks(truth: np.ndarray, name: str, n: int) -> dict[str, list[float]]:
    """`n` pixels of a class, apart from each other."""
    rows, columns = np.nonzero(truth == CLASSES.index(name))
    chosen = np.linspace(0, len(rows) - 1, n).astype(int)
    return {"x": [float(columns[i]) for i in chosen], "y": [float(rows[i]) for i in chosen]}


def pixels(message) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)


class School:
    """A node that is taught, its services, and what its segmentation says."""

    def __init__(self, rig, *options, model=TINY, **more):
        self.rig = rig(model=model, options=("--teaching", "true", *options), **more)
        self.peer, name = self.rig.peer, self.rig.node.name
        self.name = name
        self.teaching = self.peer.node.create_client(Teach, f"{name}/teach")
        self.saving = self.peer.node.create_client(SaveHead, f"{name}/save_head")
        self.peer.meet(lambda: self.teaching.service_is_ready() and self.saving.service_is_ready())
        # In the order in which they come.
        self.heard = []
        self.told = self.peer.node.create_subscription(
            LabelInfo, f"{name}/segmentation/label_info", self.heard.append, latched(100)
        )

    def listen(self):
        """Subscribes to the labels."""
        self.labels = self.peer.inbox(Image, f"{self.name}/segmentation/image")

    def hear(self, n_classes: int) -> LabelInfo:
        """The newest LabelInfo, which names so many classes."""
        return until(
            lambda: self.heard and len(self.heard[-1].class_map) == n_classes and self.heard[-1],
            f"label_info of {n_classes} classes",
        )

    def call(self, client, image=None, **fields):
        """The answer of a service; `image` is shown until the answer is there."""
        future = client.call_async(client.srv_type.Request(**fields))
        if image is None:
            image = np.full((24, 32, 3), 128, np.uint8)
        self.rig.feed(image, future.done, "an answer of the service")
        return future.result()

    def teach(self, image=None, **fields):
        return self.call(self.teaching, image, **fields)

    def learn(self, image, truth: np.ndarray, names: list[str], n_clicks: int):
        """Teaches each class by so many pixels."""
        for name in names:
            self.teach(image, class_name=name, **clicks(truth, name, n_clicks))

    def ask(self, image) -> np.ndarray:
        """The labels of an image."""
        stamps = []
        found = self.rig.feed(
            image,
            lambda: (
                next((m for m in self.labels.messages if nanos(m.header.stamp) >= stamps[0]), None)
                if stamps
                else stamps.append(nanos(self.peer.stamp()))
            ),
            "labels",
        )
        return pixels(found)

    def close(self):
        self.peer.node.destroy_subscription(self.told)
        for client in (self.teaching, self.saving):
            self.peer.node.destroy_client(client)


@pytest.fixture
def school(rig):
    made = []

    def start(*options, **more) -> School:
        made.append(School(rig, *options, **more))
        return made[-1]

    yield start
    for school in made:
        school.close()


def at_model_size(truth: np.ndarray) -> np.ndarray:
    return np.asarray(Pillow.fromarray(truth).resize((256, 256), Pillow.Resampling.NEAREST))


def test_classes_are_taught_by_pixels_and_the_saved_head_labels_alike(school, tmp_path):
    node = school()
    image, truth = frame(10)
    shown = large(truth)[:3]
    # Nobody listens to any output of segmentation: a lesson is worth a frame by itself.
    for number, name in enumerate(shown, start=1):
        answer = node.teach(image, class_name=name, **clicks(truth, name, 8))
        assert answer.success and answer.class_id == number, answer
        assert answer.exemplars == 8, answer
        assert ("labels begin" in answer.message) == (number == 1), answer
    node.listen()
    labels = node.ask(image)
    expected, known = at_model_size(truth), np.isin(at_model_size(truth), [CLASSES.index(n) for n in shown])
    right = np.zeros_like(known)
    for number, name in enumerate(shown, start=1):
        right |= (labels == number) & (expected == CLASSES.index(name))
    assert right[known].mean() > 0.85, right[known].mean()

    # LabelInfo names the classes, by the numbers of the labels.
    named = {entry.class_id: entry.class_name for entry in node.hear(len(shown) + 1).class_map}
    assert named == dict(enumerate(["other", *shown])), named

    path = tmp_path / "room.safetensors"
    saved = node.call(node.saving, path=str(path))
    assert saved.success and str(path) in saved.message, saved
    alone = infer(image, "--segmentation-head", str(path), model=str(TINY))
    assert labels_agree(alone["labels"], labels)

    # Teaching goes on from the saved head, under the same numbers, and the head is replaced.
    again = school("--segmentation-head", str(path), namespace="/again")
    again.listen()
    assert labels_agree(again.ask(image), labels)
    answer = again.teach(image, class_name=shown[0], **clicks(truth, shown[0], 3))
    assert answer.success and answer.class_id == 1 and answer.exemplars == 11, answer
    assert again.call(again.saving, path=str(path)).success


def test_a_class_is_known_before_its_first_frame(school):
    node = school()
    image, truth = frame(10)
    shown = large(truth)[:4]
    # When each message was sent, and the classes that it has or names.
    labelled, named = [], []
    subscriptions = [
        node.peer.node.create_subscription(kind, f"{node.name}/segmentation/{topic}", callback, quality)
        for kind, topic, callback, quality in (
            (
                Image,
                "image",
                lambda message, info: labelled.append((info["source_timestamp"], set(pixels(message).flat))),
                qos(reliable=True, depth=100),
            ),
            (
                LabelInfo,
                "label_info",
                lambda message, info: named.append(
                    (info["source_timestamp"], {entry.class_id for entry in message.class_map})
                ),
                latched(100),
            ),
        )
    ]
    try:
        node.listen()
        node.learn(image, truth, shown, 5)
        node.ask(image)
        node.hear(len(shown) + 1)
        everything = set(range(1, len(shown) + 1))
        node.rig.feed(image, lambda: any(everything <= found for _, found in labelled), "all classes")
    finally:
        for subscription in subscriptions:
            node.peer.node.destroy_subscription(subscription)
    for sent, found in labelled:
        known = set().union(*(names for before, names in named if before <= sent))
        assert found - {UNLABELLED} <= known, (found, known)


def test_a_class_is_announced_by_its_answer_and_once(school):
    node = school()
    image, _ = frame(10)
    # Nobody listens to labels, and one class makes none.
    node.teach(image, class_name="door", x=[5.0], y=[5.0])
    named = {entry.class_id: entry.class_name for entry in node.hear(2).class_map}
    assert named == {0: "other", 1: "door"}
    for _ in range(3):
        node.teach(image, class_name="door", x=[50.0], y=[50.0])
    node.teach(image, class_name="floor", x=[5.0], y=[200.0])
    node.teach(image, class_name="door", forget=True)
    node.teach(image, class_name="lamp", x=[5.0], y=[100.0])
    node.hear(4)
    assert [len(message.class_map) for message in node.heard] == [1, 2, 3, 4]
    late = []
    subscription = node.peer.node.create_subscription(
        LabelInfo, f"{node.name}/segmentation/label_info", late.append, latched()
    )
    until(lambda: late, "label_info for a late subscriber")
    node.peer.node.destroy_subscription(subscription)
    assert [len(message.class_map) for message in late] == [4]


def test_a_burst_of_requests_is_answered_whole(school):
    node = school()
    image, _ = frame(10)
    # A client keeps ten answers unless it is told otherwise.
    patient = node.peer.node.create_client(
        Teach, f"{node.name}/teach", qos_profile=qos(reliable=True, depth=100)
    )
    node.peer.meet(patient.service_is_ready)
    waiting = [
        patient.call_async(Teach.Request(class_name=f"class {number % 4}", x=[x], y=[120.0]))
        for number, x in enumerate(np.linspace(5, 310, 40))
    ]
    node.rig.feed(image, lambda: all(future.done() for future in waiting), "answers to all")
    node.peer.node.destroy_client(patient)
    answers = [future.result() for future in waiting]
    assert all(answer.success for answer in answers), [a.message for a in answers if not a.success]
    assert node.teach(image, class_name="class 3", x=[5.0], y=[5.0]).exemplars == 11


def test_answers_of_a_burst_leave_time_to_take_them(school):
    node = school()

    def is_answered_whole() -> bool:
        requests = [Teach.Request(class_name=f"none {number}", forget=True) for number in range(40)]
        waiting = [node.teaching.call_async(request) for request in requests]
        n_done, until_then = -1, time.monotonic() + 1
        # As long as answers come.
        while time.monotonic() < until_then and not all(future.done() for future in waiting):
            if (n := sum(future.done() for future in waiting)) != n_done:
                n_done, until_then = n, time.monotonic() + 1
            time.sleep(0.01)
        return all(future.done() for future in waiting)

    # One that has no time to take them, as on a machine that is busy, loses some whatever the node does.
    until(is_answered_whole, "a burst that is answered whole")


def test_what_was_forgotten_is_gone_and_its_number_stays(school):
    node = school()
    image, truth = frame(10)
    shown = large(truth)[:3]
    node.listen()
    node.learn(image, truth, shown, 5)
    assert (node.ask(image) == 2).any()
    answer = node.teach(image, class_name=shown[1], forget=True)
    assert answer.success and answer.class_id == 2 and answer.exemplars == 0, answer
    assert not (node.ask(image) == 2).any()
    answer = node.teach(image, class_name=shown[1], **clicks(truth, shown[1], 5))
    assert answer.class_id == 2 and (node.ask(image) == 2).any()
    # Without classes there are no labels, and no frame is lost over it.
    assert node.teach(image, class_name="", forget=True).success
    since = nanos(node.peer.stamp())
    node.rig.ask(image)
    assert not any(since <= nanos(message.header.stamp) for message in node.labels.messages)
    answer = node.call(node.saving, path="/tmp/nothing.safetensors")
    assert not answer.success and "no head to save" in answer.message, answer


def test_below_the_threshold_pixels_are_unlabelled(school):
    node = school("--teaching-threshold", "0.9")
    image, truth = frame(10)
    shown = large(truth)[:3]
    node.listen()
    node.learn(image, truth, shown, 3)
    labels = node.ask(image)
    assert 0.02 < (labels == UNLABELLED).mean() < 0.98
    assert node.heard[-1].threshold == pytest.approx(0.9)


BAD = (
    ({"camera": "left", "class_name": "a", "x": [1.0], "y": [1.0]}, '"left" is no camera'),
    ({"class_name": "a"}, "no pixel was given"),
    ({"class_name": "a", "x": [1.0, 2.0], "y": [1.0]}, "x has 2 values and y has 1"),
    ({"class_name": "a", "x": [math.nan], "y": [1.0]}, "is no pixel"),
    ({"class_name": "a", "x": [-math.inf], "y": [1.0]}, "is no pixel"),
    (
        {"class_name": "a", "x": [320.0], "y": [1.0]},
        "the model sees nothing at (320, 1) of an image of 320x240",
    ),
    ({"class_name": "a", "x": [1e300], "y": [1.0]}, "the model sees nothing"),
    ({"class_name": "a", "x": [1.0] * 4097, "y": [1.0] * 4097}, "4097 pixels were given, and at most 4096"),
    ({"class_name": "", "x": [1.0], "y": [1.0]}, "a class needs a name"),
    ({"class_name": "x" * (1 << 20), "x": [1.0], "y": [1.0]}, "1048576 bytes, and at most 256"),
    ({"class_name": " \u3000", "x": [1.0], "y": [1.0]}, "a class needs a name"),
    ({"class_name": "a\nb", "x": [1.0], "y": [1.0]}, "has the character U+000A, which cannot be seen"),
    ({"class_name": "do\u200bor", "x": [1.0], "y": [1.0]}, '"do\\u{200b}or" has the character U+200B'),
    ({"class_name": "\u202erood", "x": [1.0], "y": [1.0]}, "the character U+202E, which cannot be seen"),
    ({"class_name": "nothing", "forget": True}, 'there is no class "nothing"'),
)


def test_bad_requests_get_their_sentence_and_change_nothing(school, tmp_path):
    node = school()
    image, truth = frame(10)
    for fields, expect in BAD:
        answer = node.teach(image, **fields)
        assert not answer.success and expect in answer.message, (fields, answer)
        assert len(answer.message) < 500
    shown = large(truth)[:2]
    for name in shown:
        assert node.teach(image, class_name=name, **clicks(truth, name, 2)).exemplars == 2
    text, trained = tmp_path / "notes.safetensors", tmp_path / "trained.safetensors"
    text.write_text("do not lose this")
    trained.write_bytes((TINY / "segmentation.safetensors").read_bytes())
    for path, expect in (
        ("", "is no name of a head"),
        ("/", "is no name of a head"),
        (str(tmp_path), "is no name of a head"),
        (str(tmp_path / "notes.txt"), "is no name of a head"),
        (str(tmp_path / "a.exemplars.safetensors"), "is no name of a head"),
        (str(text), "was not saved by teaching"),
        (str(trained), "was not saved by teaching"),
        ("/proc/nowhere/head.safetensors", "cannot write"),
    ):
        answer = node.call(node.saving, path=path)
        assert not answer.success and expect in answer.message, (path, answer)
    assert text.read_text() == "do not lose this"
    assert trained.read_bytes() == (TINY / "segmentation.safetensors").read_bytes()
    assert sorted(tmp_path.iterdir()) == [text, trained]
    assert node.call(node.saving, path=str(tmp_path / "fine.safetensors")).success


def test_a_lesson_of_one_camera_waits_for_no_other(school):
    node = school("--max-rate", "0.05")
    image, _ = frame(10)
    # Nothing is shown while these wait; the throttle of the camera does not count for a lesson.
    waiting = [
        node.teaching.call_async(Teach.Request(class_name=f"class {number}", x=[1.0], y=[1.0]))
        for number in range(8)
    ]
    forgotten = node.teaching.call_async(Teach.Request(class_name="", forget=True))
    until(forgotten.done, "an answer that needs no frame")
    assert forgotten.result().success and not any(future.done() for future in waiting)
    node.rig.feed(image, lambda: all(future.done() for future in waiting), "answers to all")
    assert all(future.result().success for future in waiting), [future.result() for future in waiting]


def test_no_more_classes_than_a_label_image_holds(school):
    node = school(model="random:tiny")
    image = images.photograph("coffee", 320, 240)
    for number in range(1, 255):
        answer = node.teach(image, class_name=f"class {number}", x=[5.0], y=[5.0])
        assert answer.class_id == number, answer
    answer = node.teach(image, class_name="one more", x=[5.0], y=[5.0])
    assert not answer.success and "there are 255 classes" in answer.message, answer


def test_a_lesson_without_a_frame_is_answered_and_dropped(school):
    node = school()
    client = node.teaching
    future = client.call_async(client.srv_type.Request(class_name="a", x=[1.0], y=[1.0]))
    until(future.done, "an answer")
    answer = future.result()
    assert not answer.success and "no frame of the camera has come within 5 s" in answer.message, answer
    # It is not learnt afterwards.
    image, _ = frame(10)
    assert node.teach(image, class_name="a", x=[1.0], y=[1.0]).exemplars == 1


def test_what_cannot_be_taught_stops_the_start(tmp_path):
    def check(expect: str, *options):
        done = run("run", "--model", str(TINY), "--teaching", "true", *map(str, options))
        assert done.returncode == 2 and expect in done.stderr, done.stderr
        done = run("check", "--model", str(TINY), "--teaching", "true", *map(str, options))
        assert done.returncode != 0 and expect in done.stdout, done.stdout

    check("exemplars beside segmentation_head", "--segmentation-head", tmp_path / "none.safetensors")
    check("exemplars beside segmentation_head", "--segmentation-head", TINY / "segmentation.safetensors")
    check("teaching: under fit: window", "--fit", "window")


def test_check_reads_the_exemplars_and_tells_how_many_are_left_out(tmp_path):
    image, truth = frame(10)
    table, head = tmp_path / "clicks.csv", tmp_path / "head.safetensors"
    rows = [
        f"{FRAMES[10]},{x},{y},{name}"
        for name in large(truth)[:2]
        for x, y in zip(*clicks(truth, name, 4).values(), strict=True)
    ]
    table.write_text("\n".join(["image,x,y,class", *rows]))
    infer(image, "--exemplars", str(table), "--save-head", str(head), model=str(TINY))
    exemplars = head.with_suffix(".exemplars.safetensors")

    def check(expect: str, *options) -> str:
        given = ("--segmentation-head", head, "--teaching", "true", *options)
        done = run("check", "--model", TINY, *ENGINE, *given)
        assert expect in done.stdout, done.stdout
        return done.stdout

    said = check(f"teaching           8 exemplars of 2 classes from {exemplars}\n")
    assert "left out" not in said and "ok    frame path" in said
    limit = ("--exemplars-per-class", "3")
    kept = f"WARN  teaching           6 exemplars of 2 classes from {exemplars}"
    check(f"{kept}; 2 of 8 are left out: exemplars_per_class is 3, and exemplars_in_all is ", *limit)
    exemplars.write_bytes(exemplars.read_bytes()[:-1])
    check(f"exemplars {exemplars}: not a whole safetensors file")
    done = run("check", "--model", TINY, *ENGINE, "--teaching", "true")
    assert "ok    teaching           no exemplars yet\n" in done.stdout, done.stdout


def test_images_are_segmented_by_clicks_that_were_written_down(tmp_path):
    image, truth = frame(10)
    shown, file = large(truth)[:3], FRAMES[10]
    rows = [
        f"{file},{x},{y},{name}"
        for name in shown
        for x, y in zip(*clicks(truth, name, 6).values(), strict=True)
    ]
    table, head = tmp_path / "clicks.csv", tmp_path / "head.safetensors"
    table.write_text("image,x,y,class\n" + "\n".join(rows) + "\n")
    by_clicks = infer(image, "--exemplars", str(table), "--save-head", str(head), model=str(TINY))["labels"]
    assert set(np.unique(by_clicks)) == {1, 2, 3}
    exemplars = head.with_suffix(".exemplars.safetensors")
    by_exemplars = infer(image, "--exemplars", str(exemplars), model=str(TINY))["labels"]
    by_head = infer(image, "--segmentation-head", str(head), model=str(TINY))["labels"]
    assert labels_agree(by_exemplars, by_clicks) and labels_agree(by_head, by_clicks)

    def check(text: str, expect: str):
        table.write_text(text)
        done = run("infer", "--model", TINY, "--image", file, "--out", tmp_path, "--exemplars", table)
        assert done.returncode == 2 and expect in done.stderr, done.stderr

    table.write_bytes(b"\xef\xbb\xbfimage,x,y,class\r\n" + "\r\n".join(rows).encode())
    by_windows = infer(image, "--exemplars", str(table), model=str(TINY))["labels"]
    assert labels_agree(by_windows, by_clicks)
    check("", f"clicks {table}: the file is empty, and a first line image,x,y,class is expected")
    check("image,x,y\n", "line 1: there is no column class")
    check(f"image,x,y,class\n{file},1,1\n", "line 2: 3 values were read, and 4 are expected")
    check(f"image,x,y,class\n{file},1,left,a\n", 'line 2, column y: "left" was read, and a finite number')
    check(f"image,x,y,class\n{file},1,1,a\n", "fewer than two classes")
    check(
        f"image,x,y,class\n{file},1,1,a\n{file},999,1,a\n",
        f'line 3, columns x and y: "{file}": the model sees nothing at (999, 1) of an image of 320x240',
    )
    check(
        f"image,x,y,class\n{file},1,1,a\nnone.jpg,1,1,a\n",
        f'line 3, column image: "{tmp_path}/none.jpg": cannot read the file: No such file',
    )
    many = "".join(f"{file},1,1,class {number}\n" for number in range(255))
    check(f"image,x,y,class\n{many}", "line 256, column class: there are 255 classes")
    table.unlink()
    table.symlink_to("/dev/zero")
    done = run("infer", "--model", TINY, "--image", file, "--out", tmp_path, "--exemplars", table)
    assert done.returncode == 2 and f"clicks {table}: it is not a regular file" in done.stderr, done.stderr
    other = ("--segmentation-head", TINY / "segmentation.safetensors", "--exemplars", exemplars)
    done = run("infer", "--model", TINY, "--image", file, "--out", tmp_path, *other)
    assert done.returncode == 2 and "give one of the two" in done.stderr, done.stderr
    done = run(
        "infer", "--model", "random:tiny", "--image", file, "--out", tmp_path, "--exemplars", exemplars
    )
    assert done.returncode == 2 and "they are of blocks 4, 8 of 192 channels of pixio-tiny" in done.stderr, (
        done.stderr
    )
