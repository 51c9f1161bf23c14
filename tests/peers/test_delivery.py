"""How messages leave: at a rate, the newest first, and sent again to whom they were lost, whoever else stands
still."""

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import images
import pytest
from cameras import Camera, Cameras, Diagnostics, values
from listener import Listener
from networks import ANY_NETWORK, Host
from node_process import Node
from peer import nanos
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import Image
from waiting import repeat, until

PHOTOGRAPH = images.photograph("coffee", 320, 240)
# 24 x 24 patches of 192 float32 are 442 KB: more than twice a receiver's default socket buffer.
LARGE = {"size": "384x384", "options": ("--features-dtype", "float32")}
FEATURES, FEATURES_BYTES = "pixio_node/msg/PatchFeatures", 24 * 24 * 192 * 4
# Less than the datagrams of a large message.
SMALL_BYTES = 1200
# Its vendor id: the cameras here are of Fast DDS.
RUSTDDS = bytes((1, 18))


def pace(burst: int, rate: int) -> tuple[str, str]:
    return f"send_burst:={burst}", f"send_rate:={rate}"


class Sniffer:
    """Datagrams of the node that leave over one interface: when by the kernel's clock, where to, and how many
    bytes."""

    def __init__(self, interface: str = "lo", host: Host | None = None):
        def packets() -> socket.socket:
            return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))

        try:
            self._socket = host.make(packets) if host else packets()
        except PermissionError:
            pytest.skip("packets cannot be seen here: AF_PACKET is not permitted")
        self._socket.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((interface, 0))
        self._socket.settimeout(0.1)
        self.datagrams: list[tuple[int, tuple[str, int], int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sniffer":
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _run(self):
        while not self._ended.is_set():
            try:
                packet, ancillary, _, address = self._socket.recvmsg(128, 128, socket.MSG_TRUNC)
            except TimeoutError:
                continue
            is_outgoing, is_udp = address[2] == 4, packet[0] == 0x45 and packet[9] == 17
            if is_outgoing and is_udp and packet[28:32] == b"RTPS" and packet[34:36] == RUSTDDS and ancillary:
                secs, nanosecs = struct.unpack("qq", ancillary[0][2])
                port, length = struct.unpack("!HH", packet[22:26])
                destination = socket.inet_ntoa(packet[16:20]), port
                self.datagrams.append((secs * 1_000_000_000 + nanosecs, destination, length - 8))

    def large(self) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """Time and bytes of the datagrams that are larger than a small one, by destination."""
        found: dict = {}
        for at, destination, length in self.datagrams:
            if length > SMALL_BYTES:
                found.setdefault(destination, []).append((at, length))
        return found


def excess_bytes(datagrams: list[tuple[int, int]], rate: int) -> float:
    """The most bytes in any interval beyond what `rate` brings in it: the burst that a receiver has to
    hold."""
    most, level, last = 0.0, 0.0, None
    for at, length in datagrams:
        level = max(0.0, level - (at - (last or at)) * rate / 1e9) + length
        most, last = max(most, level), at
    return most


def delivered(diagnostics: Diagnostics, topic: str) -> tuple[int, int]:
    """Messages of the node that were sent, and those of the topic that were replaced."""
    found = values(diagnostics.last()["transport"])
    return int(found["messages sent"]), int(found.get(f"replaced on {topic}", 0))


@contextmanager
def camera_process(host: Host | None, topic: str):
    """A camera at 5 Hz in a process of its own, on a host of its own if there is one."""
    order = {
        "do": "shoot",
        "topic": topic,
        "transport": "raw",
        "size": [320, 240],
        "rate": 5,
        "seconds": 3600,
        "camera_info": f"{topic.rpartition('/')[0]}/camera_info",
    }
    inside = host.inside if host else ()
    camera = subprocess.Popen(
        [*inside, sys.executable, str(Path(__file__).with_name("ends.py")), "camera"],
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        camera.stdin.write(json.dumps(order) + "\n")
        camera.stdin.flush()
        yield
    finally:
        camera.kill()
        camera.wait()


@pytest.fixture
def hosts():
    """Two hosts with a link."""
    one, other = Host(), Host()
    one.link(other, "cable", "10.98.0.1", "10.98.0.2")
    for host, beyond in ((one, "10.98.0.2"), (other, "10.98.0.1")):
        host.do(f"ip route add default via {beyond}")
    yield one, other
    one.close()
    other.close()


def test_large_messages_for_another_host_leave_at_one_rate_and_small_ones_overtake(hosts, monkeypatch):
    for name in ANY_NETWORK:
        monkeypatch.delenv(name, raising=False)
    here, there = hosts
    # 442 KB in datagrams of Ethernet, with what each costs a receiver, take more than a second, so that no
    # pause of this machine makes up for a missing one.
    burst, rate = 80_000, 1_200_000
    name = "/paced/pixio_node"
    topics = {f"{name}/features": FEATURES, f"{name}/features/camera_info": "sensor_msgs/msg/CameraInfo"}
    features, camera_info = topics
    node = here.node(namespace="/paced", params=pace(burst, rate), env=ANY_NETWORK, **LARGE)
    with (
        Listener(topics, False, there.inside) as listener,
        node,
        Sniffer("cable", here) as sniffer,
        camera_process(here, "/camera/image_raw"),
    ):
        # The CameraInfo of each frame comes at once, while its features wait for the last ones or are
        # replaced.
        until(
            lambda: (
                len(listener.heard(features)) >= 3
                and len(listener.heard(camera_info)) > len(listener.heard(features)) + 3
            ),
            "features and what is small",
            log=node.tail,
        )
        assert node.stop() == 0
    flows = [flow for flow in sniffer.large().values() if sum(length for _, length in flow) > FEATURES_BYTES]
    assert flows, sniffer.datagrams[-5:]
    for flow in flows:
        # A datagram that was late by a pause of this machine comes on top.
        assert excess_bytes(flow, rate) <= burst + 65536, (excess_bytes(flow, rate), len(flow))
    # What has begun is finished: a best effort receiver never gets it in part, and the newest follows.
    assert {n_bytes for _, _, n_bytes in listener.heard(features)} == {FEATURES_BYTES}


def test_a_receiver_on_this_host_is_served_as_fast_as_it_takes(rig):
    # By this rate the first message would end in five days.
    node = rig(listen=("features",), namespace="/asked", params=pace(70_000, 1), **LARGE)
    for _ in range(10):
        assert len(node.ask(PHOTOGRAPH).data) == FEATURES_BYTES


def test_what_waits_for_a_frozen_receiver_is_replaced_and_counted(rig, peer):
    node = rig(listen=(), namespace="/replaced", **LARGE)
    topic = f"{node.node.name}/features"
    diagnostics = Diagnostics(peer, node.node.name)
    with Listener({topic: FEATURES}, False) as listener:
        listener.wait_until_matched()
        node.feed(PHOTOGRAPH, lambda: len(listener.heard()) > 2, "features", every_secs=0.2)
        listener.freeze()
        n_before = delivered(diagnostics, topic)[1]
        node.feed(
            PHOTOGRAPH,
            lambda: delivered(diagnostics, topic)[1] > n_before,
            "features that were replaced",
            every_secs=0.02,
        )
        listener.thaw()
        n_heard = len(listener.heard())
        node.feed(PHOTOGRAPH, lambda: len(listener.heard()) > n_heard + 2, "more features", every_secs=0.2)
    assert {n_bytes for _, _, n_bytes in listener.heard()} == {FEATURES_BYTES}
    peer.drop(diagnostics.inbox)


def test_default_receivers_get_every_message_whatever_they_ask_for(rig, peer):
    node = rig(
        listen=("features", "features/pca", "features/reduced", "embedding"),
        namespace="/all",
        params=pace(70_000, 20_000_000),
        **LARGE,
    )
    reliable = peer.inbox(PatchFeatures, f"{node.node.name}/features", reliable=True)
    image = peer.inbox(Image, f"{node.node.name}/features/pca", reliable=True)
    until(lambda: reliable.matched() and image.matched(), "the reliable subscriptions")
    # The principal components are estimated from the first frames.
    node.feed(PHOTOGRAPH, lambda: len(image), "an image of the features", every_secs=0.2)
    # The next image comes when the last was answered everywhere, so none is replaced.
    for n in range(20):
        stamp = node.send(PHOTOGRAPH)

        def heard(stamp=stamp) -> bool:
            return all(inbox.find(stamp) for inbox in (reliable, image, *node.inboxes.values()))

        until(heard, f"all answers to frame {n}", log=node.node.tail)
    peer.drop(reliable)
    peer.drop(image)


def test_a_frozen_reliable_subscriber_costs_the_others_nothing_and_hears_again(rig, peer):
    node = rig(listen=(), namespace="/frozen", params=pace(140_000, 50_000_000), **LARGE)
    topic = f"{node.node.name}/features"
    with (
        Listener({topic: FEATURES}, True) as first,
        Listener({topic: FEATURES}, True) as second,
        Listener({topic: FEATURES}, True) as frozen,
    ):
        listeners = (first, second, frozen)
        for listener in listeners:
            listener.wait_until_matched()

        def answered(by: tuple[Listener, ...]):
            """Shows an image until all these have its answer."""
            stamps = []

            def show():
                stamps.append(nanos(node.send(PHOTOGRAPH)))

            repeat(
                show,
                lambda: all(set(stamps) & set(listener.stamps()) for listener in by),
                "an answer for each",
                every_secs=1,
                log=node.node.tail,
            )

        for _ in range(5):
            answered(listeners)
        n_bytes, n_before = node.node.memory_bytes(), len(frozen.stamps())
        last = max(first.stamps())
        frozen.freeze()
        # The first of these fill the frozen one's socket, and one of them not whole.
        for _ in range(60):
            answered((first, second))
        grown = node.node.memory_bytes() - n_bytes
        assert grown < 10 << 20, f"{grown} bytes more"
        assert len(frozen.stamps()) == n_before
        frozen.thaw()
        answered(listeners)
        one, other = ([stamp for stamp in listener.stamps() if stamp > last] for listener in (first, second))
        assert one == other and len(one) > 60


def test_what_a_receiver_loses_is_sent_again(rig):
    # Without a limit a message comes in one burst, of which a default receiver's socket holds half.
    node = rig(
        listen=("features",), reliable_inboxes=True, namespace="/lossy", params=pace(140_000, 0), **LARGE
    )
    for _ in range(20):
        assert len(node.ask(PHOTOGRAPH).data) == FEATURES_BYTES


def test_a_receiver_that_loses_what_is_replaced_before_it_was_repaired_hears_on(rig, peer):
    node = rig(listen=(), namespace="/stormy", params=pace(140_000, 0), **LARGE)
    topic = f"{node.node.name}/features"
    with Listener({topic: FEATURES}, True) as listener:
        listener.wait_until_matched()
        camera = Camera("/camera/image_raw", PHOTOGRAPH, 60)
        for _ in range(5):
            with Cameras(peer, [camera]):
                # Frozen and thawed in the midst of messages, it holds parts of some that will never be whole.
                for _ in range(10):
                    listener.freeze()
                    time.sleep(0.05)
                    listener.thaw()
                    time.sleep(0.05)
            n_heard = len(listener.heard())
            node.feed(
                PHOTOGRAPH,
                lambda n_heard=n_heard: len(listener.heard()) > n_heard + 2,
                "more features",
                every_secs=0.2,
            )
    assert all(n_bytes == FEATURES_BYTES for _, _, n_bytes in listener.heard())


@pytest.fixture
def ethernet():
    """An interface with the MTU of Ethernet and an address of its own."""

    def ip(*arguments: str) -> bool:
        return subprocess.run(["ip", *arguments], capture_output=True).returncode == 0

    if not (
        ip("link", "add", "eth1500", "type", "veth", "peer", "name", "eth1500b")
        and ip("addr", "add", "10.99.1.1/24", "dev", "eth1500")
        and ip("link", "set", "eth1500", "up")
        and ip("link", "set", "eth1500b", "up")
    ):
        pytest.skip("no interface can be made here: ip link add fails")
    yield "10.99.1.1"
    ip("link", "del", "eth1500")


def test_own_addresses_get_datagrams_as_large_as_over_loopback(ethernet, monkeypatch):
    # Peers in processes of their own, which know the interface, and in a domain of their own: those of the
    # other tests know only loopback, and meet the node there.
    monkeypatch.setenv("ROS_DOMAIN_ID", "77")
    node = Node(
        namespace="/own_address",
        params=(f"network_interface:={ethernet}",),
        remaps=("image:=/own/image_raw",),
        **LARGE,
    )
    with (
        Listener({"/own_address/pixio_node/features": FEATURES}, False) as listener,
        Sniffer() as sniffer,
        node,
        camera_process(None, "/own/image_raw"),
    ):
        until(lambda: len(listener.heard()) >= 3, "features", log=node.tail)
        assert node.stop() == 0
    sizes = sorted((length, *to) for _, to, length in sniffer.datagrams)[-3:]
    assert sizes[-1][0] > 60_000 and sizes[-1][1] == ethernet, f"the largest datagrams: {sizes}"
