"""What bad frames get: counted by reason, one warning, and the next good frame is served."""

import itertools
import struct
import zlib

import images
import pytest
from node_process import logged_at
from sensor_msgs.msg import CompressedImage, Image
from waiting import PATIENCE_SECS, repeat

GOOD = images.photograph("astronaut", 320, 240)


def raw(width=320, height=240, step=960, encoding="rgb8", n_bytes=320 * 240 * 3):
    return Image(width=width, height=height, step=step, encoding=encoding, data=bytes(n_bytes))


def jpeg(image=GOOD) -> bytes:
    return images.file_bytes(image, "JPEG")


def jpeg_that_claims(width: int, height: int) -> bytes:
    """A JPEG whose frame header holds other sizes than its data."""
    file = bytearray(jpeg())
    at = file.index(b"\xff\xc0") + 5
    file[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(file)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header holds other sizes than its data, with a checksum that agrees."""
    file = bytearray(images.file_bytes(GOOD, "PNG"))
    file[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    file[29:33] = zlib.crc32(bytes(file[12:29])).to_bytes(4, "big")
    return bytes(file)


def png(
    width: int, height: int, depth: int, color: int, samples: bytes, *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG of packed `samples`, with `chunks` before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", samples), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


def zeros(n_bytes: int) -> bytes:
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(min(1 << 20, n_bytes - at))) for at in range(0, n_bytes, 1 << 20)]
    return b"".join(pieces) + packer.flush()


RAW = {
    "data shorter than height x step": raw(n_bytes=320 * 240 * 3 - 2000),
    "no data": raw(n_bytes=0),
    "a 0x0 image": raw(width=0, height=0, step=0, n_bytes=0),
    "zero width": raw(width=0),
    "zero height": raw(height=0),
    "an unknown encoding": raw(encoding="jpeg2000"),
    "an empty encoding": raw(encoding=""),
    "a step shorter than a row": raw(step=959),
    "a 16k x 16k claim": raw(width=16384, height=16384, step=3 * 16384),
    "a claim that overflows 32 bits": raw(width=2**31, height=2**31, step=2**32 - 1),
    "odd width in 4:2:2": raw(width=319, step=640, encoding="uyvy"),
}
COMPRESSED = {
    "a JPEG cut in half": jpeg()[: len(jpeg()) // 2],
    "a JPEG of three bytes": jpeg()[:3],
    "no data": b"",
    "noise": bytes(range(256)) * 20,
    "a JPEG that claims 60000 x 60000": jpeg_that_claims(60000, 60000),
    "a PNG cut in half": images.file_bytes(GOOD, "PNG")[:20000],
    "a PNG that claims 16k x 16k": png_that_claims(16384, 16384),
}


@pytest.fixture(scope="module")
def raw_node(peer):
    yield from shared(peer, "raw")


@pytest.fixture(scope="module")
def compressed_node(peer):
    yield from shared(peer, "compressed")


def shared(peer, transport):
    """A node for all rows; when they are through, its books must show each one."""
    from rig import Rig

    # Apart from the nodes of other tests, which come and go while this one stays.
    node = Rig(peer, transport=transport, namespace=f"/{transport}", camera=f"/{transport}_camera/image_raw")
    try:
        node.n_refused = 0
        node.ask(GOOD if transport == "raw" else jpeg())
        memory = node.node.memory_bytes()
        yield node
        grown = node.node.memory_bytes() - memory
        assert node.node.stop() == 0, node.node.tail()
        counts = node.node.counts()
        assert (counts["refused"], sum(counts["reasons"].values())) == (node.n_refused, node.n_refused), (
            counts
        )
        assert (
            counts["received"]
            == counts["published"] + counts["displaced"] + counts["refused"] + counts["unwanted"]
        )
        assert grown < 60e6, f"{grown / 1e6:.0f} MB for frames that were refused"
    finally:
        node.close()


def refuse_then_serve(node, bad, good):
    """Sends the bad frame until the node has refused one, which no newer one has displaced, and then a good
    one."""
    before = node.settled()["refused"]
    assert before == node.n_refused

    def send():
        bad.header.stamp = node.peer.stamp()
        bad.header.frame_id = "bad"
        node.camera.publish(bad)

    repeat(send, lambda: node.counts()["refused"] > before, "the refusal in the books", log=node.node.tail)
    node.ask(good)
    # Mostly one; more where a frame, or the node, was late.
    node.n_refused = node.settled()["refused"]
    assert all(message.header.frame_id != "bad" for message in node.inboxes["features"].messages)


@pytest.mark.parametrize("row", RAW)
def test_after_a_bad_raw_frame_the_next_good_one_is_served(raw_node, row):
    refuse_then_serve(raw_node, RAW[row], GOOD)


@pytest.mark.parametrize("row", COMPRESSED)
def test_after_a_bad_compressed_frame_the_next_good_one_is_served(compressed_node, row):
    refuse_then_serve(compressed_node, CompressedImage(format="jpeg", data=COMPRESSED[row]), jpeg())


def test_costly_files_take_little_and_give_it_back(rig):
    """Files of half a megabyte and less, each of which could take hundreds."""
    # Nothing is lost on the way, so each file is sent once: buffers stay as large as two of the last eight
    # images need.
    node = rig(transport="compressed", params=("image_reliability:=reliable",))

    def ask_once(file: bytes):
        node.answers(file, every_secs=PATIENCE_SECS)
        node.settled()

    for _ in range(3):
        ask_once(jpeg())
    memory = node.node.memory_bytes()
    small = zlib.compress(bytes(65 * 48))
    bomb = b"bomb\0\0" + zeros(400 << 20)
    for file, decoded in (
        (png(64, 48, 8, 0, small, (b"iCCP", bomb)), 64 * 48),
        (png(64, 48, 8, 0, small, (b"zTXt", bomb)), 64 * 48),
        (png(5000, 5000, 16, 6, zeros(40_001 * 5000)), 75_000_000),
    ):
        node.node.forget_peak_memory()
        ask_once(file)
        assert node.node.memory_bytes("VmHWM") - memory < 3 * decoded + 16e6 + 2 * len(file)
        for _ in range(2):
            ask_once(jpeg())
        assert node.node.memory_bytes() - memory < 16e6
    assert node.node.stop() == 0


def test_bad_frames_are_told_once_with_topic_and_reason(rig):
    node = rig()
    # Slower than they are refused, so that they seldom displace each other.
    node.feed(GOOD, lambda: node.counts()["refused"] >= 20, "twenty refusals", encoding="jpeg2000")
    node.ask(GOOD)
    warned = [logged_at(line) for line in node.node.output.lines if "WARN" in line and "jpeg2000" in line]
    assert warned
    assert all(after - before > 4.9 for before, after in itertools.pairwise(warned)), warned


def test_a_burst_of_a_thousand_frames_is_accounted_for_and_costs_no_memory(rig):
    node = rig()
    small = images.photograph("rocket", 64, 48)
    node.ask(small)
    memory = node.node.memory_bytes()
    for _ in range(1000):
        node.send(small)
    node.ask(small)
    assert node.node.memory_bytes() - memory < 40e6
    assert node.node.stop() == 0
    counts = node.node.counts()
    # Best effort, newest first: what DDS passed over was never received.
    assert counts["received"] > node.base["received"], counts
    assert counts["in_flight"] == 0, counts
    assert (
        counts["received"]
        == counts["published"] + counts["displaced"] + counts["refused"] + counts["unwanted"]
    )
