"""The outputs beside ~/features, and that nothing is computed for nobody."""

import io

import images
import numpy as np
from decode import features_from_message
from offline import infer, largest_difference
from PIL import Image as Pillow
from waiting import until

PHOTOGRAPHS = [images.photograph(name) for name in images.NAMES]


def array(message, channels: int, dtype) -> np.ndarray:
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width, channels)


def settled(node, output: str, channels: int, dtype) -> list[np.ndarray]:
    """Shows images until the output gives each the same values in two rounds running."""
    # The first frames go into the basis.
    node.answers(PHOTOGRAPHS[0], output, every_secs=0.1)
    rounds = []

    def is_settled() -> bool:
        rounds.append([array(node.ask(photograph, output), channels, dtype) for photograph in PHOTOGRAPHS])
        return len(rounds) > 1 and all(np.array_equal(a, b) for a, b in zip(*rounds[-2:]))

    until(is_settled, f"{output} that settles", log=node.node.tail)
    return rounds[-1]


def test_reduced_and_pca_mean_the_same_after_a_restart(rig, tmp_path):
    listen = ("features", "features/reduced", "features/pca", "features/pca/compressed")
    seen = []
    for _ in range(2):
        node = rig(listen=listen, cache=tmp_path)
        reduced = settled(node, "features/reduced", 16, np.dtype("<f4"))
        colours = settled(node, "features/pca", 3, np.uint8)
        message = node.ask(PHOTOGRAPHS[0], "features/reduced")
        assert (message.encoding, message.step, message.is_bigendian) == ("32FC16", message.width * 64, 0)
        image, file = node.answers(PHOTOGRAPHS[0], "features/pca", "features/pca/compressed").values()
        assert image.encoding == "rgb8" and image.header.frame_id == "camera_optical"
        decoded = np.asarray(Pillow.open(io.BytesIO(bytes(file.data))).convert("RGB"))
        assert np.array_equal(decoded, array(image, 3, np.uint8))
        seen.append((reduced, colours))
        node.close()
    for first, second in zip(*seen):
        for a, b in zip(first, second):
            # Another number of threads rounds otherwise.
            tolerance = 1 if a.dtype == np.uint8 else 1e-4 * np.abs(a).max()
            assert np.abs(a.astype(np.float64) - b).max() <= tolerance
    # Different images look different, and the components are in order of what they carry.
    reduced, colours = seen[0]
    assert not np.array_equal(colours[0], colours[1])
    spread = np.var(np.concatenate([r.reshape(-1, 16) for r in reduced]), axis=0)
    assert spread[0] == spread.max() and spread[0] > 4 * spread[15]


def test_reduced_keeps_what_the_features_hold_along_the_basis(rig):
    """The reduced channels are one linear map of the features, for all images."""
    node = rig(listen=("features", "features/reduced"), options=("--features-dtype", "float32"))
    settled(node, "features/reduced", 16, np.dtype("<f4"))
    tokens, reduced = [], []
    for photograph in PHOTOGRAPHS:
        features, message = node.answers(photograph).values()
        reduced.append(array(message, 16, np.dtype("<f4")).reshape(-1, 16))
        tokens.append(features_from_message(features).reshape(-1, 192))
    x, y = np.concatenate(tokens), np.concatenate(reduced)
    x = np.hstack([x, np.ones((len(x), 1))])
    fitted, *_ = np.linalg.lstsq(x[::2], y[::2], rcond=None)
    assert largest_difference(x[1::2] @ fitted, y[1::2]) < 1e-3


def test_embedding_equals_infer(rig):
    node = rig(listen=("embedding",))
    message = node.ask(PHOTOGRAPHS[1], "embedding")
    expected = infer(PHOTOGRAPHS[1])
    assert (message.n_cls_tokens, message.channels) == (8, 192)
    class_tokens = np.array(message.class_tokens, np.float32).reshape(8, 192)
    assert largest_difference(class_tokens, expected["class_tokens"]) < 1e-5
    assert largest_difference(message.pooled, expected["pooled"]) < 1e-5
    np.testing.assert_allclose(message.pooled, class_tokens.mean(axis=0), atol=1e-5)


def test_outputs_name_the_model_and_its_revision(rig):
    node = rig(listen=("features", "embedding"))
    features, embedding = node.answers(PHOTOGRAPHS[0]).values()
    assert features.model == embedding.model and "tiny" in features.model
    assert features.revision == embedding.revision
    assert len(features.revision) == 12 and set(features.revision) <= set("0123456789abcdef")


def forwards(node) -> int:
    """Forward passes so far."""
    return sum(period["spans"]["forward"]["n"] for period in node.node.stats())


def test_nothing_is_computed_for_nobody(rig):
    node = rig(listen=())
    at_start = forwards(node)
    node.feed(PHOTOGRAPHS[0], lambda: node.counts()["received"] >= node.base["received"] + 10, "ten frames")
    counts = node.settled()
    assert (counts["unwanted"], counts["published"]) == (counts["received"], 0) and forwards(node) == at_start

    # A listener who comes late is served, and only what he listens to is made.
    inbox = node.inboxes["embedding"] = node.listen("embedding")
    node.wait_until_matched()
    node.ask(PHOTOGRAPHS[0], "embedding")

    # And when he has gone, the work stops.
    node.peer.drop(node.inboxes.pop("embedding"))

    def passed_over(n: int):
        before = node.counts()["unwanted"]
        node.feed(
            PHOTOGRAPHS[0],
            lambda: node.counts()["unwanted"] >= before + n,
            f"{n} frames that are unwanted again",
        )

    passed_over(1)
    node.settled()
    n_forwards = forwards(node)
    passed_over(5)
    node.settled()
    assert forwards(node) == n_forwards and len(inbox) >= 1
    assert node.node.stop() == 0
    final = node.node.counts()
    assert final["published"] >= 1
    assert final["received"] == final["published"] + final["displaced"] + final["refused"] + final["unwanted"]
