"""The examples on the running node: what they print, and what the C++ one decodes."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rooms_data
from messages import PREFIX
from node_process import ROOT, Output, end_with_parent
from peer import nanos, qos
from pixio_node.msg import PatchFeatures
from rclpy.serialization import deserialize_message, serialize_message
from recording import Recording
from sensor_msgs.msg import Image
from waiting import PATIENCE_SECS, repeat

sys.path.append(str(ROOT / "examples"))
from pair_features_with_depth import MOST_WAITING, ExactPairs, meters_per_patch
from subscribe_features import cosine, features_from_message

CPP = ROOT / "examples" / "subscribe_features_cpp"


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.open(rooms_data.ROOM_WALK)


def lines_of(example: str, arguments: tuple[str, ...], rig, recording: Recording) -> list[str]:
    """What an example prints by itself while the camera shows the walk; it ends after the number of messages
    asked for."""
    command = [sys.executable, ROOT / "examples" / example, *arguments, "--count", "2"]
    # As in a shell that has sourced a workspace with the message types.
    env = os.environ | {"PYTHONPATH": str(next(PREFIX.glob("lib/python3*/site-packages")))}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=env, preexec_fn=end_with_parent
    )
    try:
        output = Output(process.stdout)
        i = iter(range(10**6))
        repeat(
            lambda: rig.send(recording.rgb[next(i) % len(recording)]),
            lambda: process.poll() is not None,
            f"the end of {example}",
            every_secs=0.1,
            log=rig.node.tail,
        )
        assert process.wait(PATIENCE_SECS) == 0
        output.drain()
        return output.lines
    finally:
        process.kill()
        process.wait()


def test_a_subscriber_prints_stamp_shape_and_cosine(rig, recording):
    started = rig(namespace="/example", listen=())
    lines = lines_of("subscribe_features.py", ("--topic", "/example/pixio_node/features"), started, recording)
    assert len(lines) == 2
    for line in lines:
        shown = re.fullmatch(
            r"\d+\.\d{9}  16x16 patches of 192 float16, cosine of middle and corner (-?\d\.\d{3})", line
        )
        assert shown and abs(float(shown[1])) <= 1, line


def test_features_and_depth_are_paired(rig, recording):
    started = rig(model=str(rooms_data.TINY), namespace="/example", listen=(), options=rooms_data.HEADS)
    lines = lines_of("pair_features_with_depth.py", ("--node", "/example/pixio_node"), started, recording)
    assert len(lines) == 2
    for line in lines:
        shown = re.fullmatch(
            r"\d+\.\d{9}  16x16 patches: middle ([\d.]+|nan) m, nearest ([\d.]+) m, median ([\d.]+) m", line
        )
        assert shown and 0 < float(shown[2]) <= float(shown[3]) < 10, line


NOTHING = np.float32(np.nan)


@pytest.mark.parametrize(
    ("pixels", "metres"),
    [
        ([[1, 3], [1, 3]], 2),
        ([[1, NOTHING], [np.inf, 2]], 1.5),
        ([[NOTHING, -np.inf], [np.inf, NOTHING]], NOTHING),
    ],
)
def test_metres_of_a_patch_are_the_mean_of_its_known_pixels(pixels, metres):
    beside = np.full((2, 2), 7, np.float32)
    data = np.hstack([np.array(pixels, np.float32), beside]).tobytes()
    features = PatchFeatures(grid_height=1, grid_width=2)
    depth = Image(height=2, width=4, encoding="32FC1", data=data)
    np.testing.assert_array_equal(meters_per_patch(features, depth), [[metres, 7]])


def stamped(sec: int) -> PatchFeatures:
    message = PatchFeatures()
    message.header.stamp.sec = sec
    return message


def test_only_equal_stamps_are_a_pair_and_the_lost_ones_are_forgotten():
    pairs = ExactPairs()
    assert pairs.add("a", stamped(1)) is None and pairs.add("b", stamped(2)) is None
    assert set(pairs.add("b", stamped(1))) == {"a", "b"}
    for sec in range(3, 30):
        assert pairs.add("a", stamped(sec)) is None
    assert len(pairs.waiting) == MOST_WAITING
    assert pairs.add("a", stamped(2)) is None


class Decoded(ctypes.Structure):
    """As patch_grid.cpp has it."""

    _fields_ = [
        ("sec", ctypes.c_int32),
        ("nanosec", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("rows", "columns", "channels")),
        ("x", ctypes.c_double),
        ("y", ctypes.c_double),
        ("cosine", ctypes.c_float),
    ]


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    """The decoding part of the C++ example, compiled against the generated header and the wheels' type
    support."""
    venv, out = Path(sys.prefix), tmp_path_factory.mktemp("cpp") / "patch_grid.so"
    system = [
        folder
        for folder in (*(venv / "include").iterdir(), PREFIX / "include" / "pixio_node")
        if folder.is_dir()
    ]
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared"]
    command += [word for folder in system for word in ("-isystem", str(folder))]
    command += ["-I", str(CPP / "include"), str(Path(__file__).with_name("patch_grid.cpp")), "-o", str(out)]
    command += ["-L", str(PREFIX / "lib"), "-L", str(venv / "lib")]
    command += [
        "-lpixio_node__rosidl_typesupport_cpp",
        "-lrosidl_typesupport_cpp",
        "-lrmw",
        "-lrmw_fastrtps_cpp",
    ]
    built = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECS)
    assert built.returncode == 0, built.stderr
    return ctypes.CDLL(str(out))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_cpp_decodes_what_python_decodes(peer, rig, recording, library, dtype):
    started = rig(namespace="/example_cpp", listen=(), options=("--features-dtype", dtype))
    serialized = []
    subscription = peer.node.create_subscription(
        PatchFeatures, "/example_cpp/pixio_node/features", serialized.append, qos(False), raw=True
    )
    try:
        repeat(lambda: started.send(recording.rgb[0]), lambda: len(serialized), "features", every_secs=0.1)
    finally:
        peer.node.destroy_subscription(subscription)
    message = deserialize_message(serialized[0], PatchFeatures)
    expected = features_from_message(message)
    values, decoded = np.zeros(expected.shape, np.float32), Decoded()
    room = values.ctypes.data_as(ctypes.c_void_p)
    assert library.decode(serialized[0], len(serialized[0]), ctypes.byref(decoded), room, values.size) == 0
    assert (decoded.rows, decoded.columns, decoded.channels) == expected.shape
    assert decoded.sec * 10**9 + decoded.nanosec == nanos(message.header.stamp)
    np.testing.assert_array_equal(values, expected.astype(np.float32))
    assert decoded.cosine == pytest.approx(cosine(expected[8, 8], expected[0, 0]), abs=1e-5)
    assert (decoded.x, decoded.y) == pytest.approx(message.image_from_grid.reshape(2, 3) @ (8, 8, 1))


def test_cpp_refuses_data_of_another_length(library):
    bad = PatchFeatures(grid_height=2, grid_width=2, channels=4, dtype="float16", data=bytes(31))
    serialized, decoded = serialize_message(bad), Decoded()
    assert library.decode(serialized, len(serialized), ctypes.byref(decoded), None, 16) == 3


HALVES = [0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0xC000, 0x7BFF, 0x7C00, 0xFC00, 0x7E00]


def test_cpp_reads_every_kind_of_half(library):
    data = np.array(HALVES, "<u2").tobytes()
    message = PatchFeatures(grid_height=1, grid_width=1, channels=len(HALVES), dtype="float16", data=data)
    serialized, decoded = serialize_message(message), Decoded()
    values = np.zeros(len(HALVES), np.float32)
    room = values.ctypes.data_as(ctypes.c_void_p)
    assert library.decode(serialized, len(serialized), ctypes.byref(decoded), room, values.size) == 0
    np.testing.assert_array_equal(values, np.frombuffer(data, "<f2").astype(np.float32))
