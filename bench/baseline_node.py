"""The Python node that the comparison is made with: rclpy, Hugging Face's processor and model, newest frame
first.

Run with `--ros-args -r image:=… -p model:=tiny`; it publishes `~/features` as float16 PatchFeatures.
"""

import ctypes
import json
import os
import signal
import threading
import time
from pathlib import Path

import messages  # noqa: F401  (pixio_node.msg)
import numpy as np
import rclpy
import torch
from pixio_node.msg import PatchFeatures
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from torchvision.io import ImageReadMode, decode_jpeg
from transformers import BitImageProcessor, PixioConfig, PixioModel

MODELS = {
    "tiny": {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3},
    "vitb16": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}
CHANNELS = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0]}
NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Latest:
    """One slot; a newer message replaces the one that waits."""

    def __init__(self):
        self._message = None
        self._filled = threading.Condition()
        self._open = True

    def replace(self, message) -> bool:
        """Whether another message was displaced."""
        with self._filled:
            displaced, self._message = self._message, message
            self._filled.notify()
            return displaced is not None

    def close(self):
        with self._filled:
            self._open = False
            self._filled.notify()

    def take(self):
        """The newest message, or None after `close`."""
        with self._filled:
            while self._open and self._message is None:
                self._filled.wait()
            message, self._message = self._message, None
            return message if self._open else None


class BaselineNode(Node):
    def __init__(self):
        super().__init__("baseline_node")
        model = self.declare_parameter("model", "tiny").value
        transport = self.declare_parameter("image_transport", "raw").value
        self._stats_file = self.declare_parameter("stats_file", "").value
        torch.manual_seed(0)
        self._model_name = f"random:{model}"
        self._model = PixioModel(PixioConfig(**MODELS[model])).eval()
        self._n_cls = self._model.config.n_cls_tokens
        # What AutoImageProcessor makes of the published preprocessor_config.json.
        self._processor = BitImageProcessor(
            size={"height": 256, "width": 256},
            resample=3,
            do_center_crop=False,
            image_mean=[0.485, 0.456, 0.406],
            image_std=[0.229, 0.224, 0.225],
        )
        self._features = self.create_publisher(PatchFeatures, "~/features", NEWEST)
        self._latest = Latest()
        self.counts = {"received": 0, "published": 0, "displaced": 0}
        self.forward_cpu_secs = 0.0
        self.forward_millis: list[float] = []
        with torch.inference_mode():
            self._model(pixel_values=torch.zeros(1, 3, 256, 256))
        self._worker = threading.Thread(target=self._work)
        self._worker.start()
        if transport == "compressed":
            topic = self.resolve_topic_name("image") + "/compressed"
            self.create_subscription(CompressedImage, topic, self._receive, NEWEST)
        else:
            self.create_subscription(Image, "image", self._receive, NEWEST)
        self.create_timer(0.5, self.write_stats)
        self.get_logger().info("ready: waiting for images")

    def close(self):
        self._latest.close()
        self._worker.join()
        self.write_stats()

    def _receive(self, message):
        self.counts["received"] += 1
        self.counts["displaced"] += self._latest.replace(message)

    @torch.inference_mode()
    def _work(self):
        # libgomp's threads take the name of the one that starts them, so that their time can be told from the
        # rest.
        ctypes.CDLL(None).prctl(15, b"model", 0, 0, 0)
        while (message := self._latest.take()) is not None:
            image = tensor_from_message(message)
            if image is None:
                self.get_logger().warning("image that cannot be read", throttle_duration_sec=5)
                continue
            pixels = self._processor(images=image, return_tensors="pt")["pixel_values"]
            start, start_cpu = time.perf_counter(), torch_cpu_secs()
            tokens = self._model(pixel_values=pixels).last_hidden_state[0, self._n_cls :]
            self.forward_cpu_secs += torch_cpu_secs() - start_cpu
            self.forward_millis.append((time.perf_counter() - start) * 1e3)
            self._publish(message.header, image.shape[-2:], tokens)

    def _publish(self, header, image_size, tokens):
        height, width = image_size
        out = PatchFeatures(
            header=header,
            model=self._model_name,
            layer=self._model.config.num_hidden_layers,
            normalized=True,
            image_height=height,
            image_width=width,
            grid_height=16,
            grid_width=16,
            channels=tokens.shape[-1],
            dtype="float16",
            data=tokens.half().numpy().tobytes(),
        )
        sx, sy = width / 16, height / 16
        out.image_from_grid = [sx, 0.0, (sx - 1) / 2, 0.0, sy, (sy - 1) / 2]
        self._features.publish(out)
        self.counts["published"] += 1

    def write_stats(self):
        """Counts and times so far, as one JSON object."""
        if not self._stats_file:
            return
        said = {
            "counts": self.counts,
            "forward_cpu_secs": self.forward_cpu_secs,
            "forward_millis": self.forward_millis[-200:],
        }
        part = Path(f"{self._stats_file}.part")
        part.write_text(json.dumps(said))
        part.replace(self._stats_file)


def torch_cpu_secs() -> float:
    """CPU time of the calling thread and of the OpenMP threads that it has started."""
    total, own = time.thread_time(), threading.get_native_id()
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != own and (task / "comm").read_text() == "model\n":
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
    return total


def tensor_from_message(message) -> torch.Tensor | None:
    """uint8 [3, height, width], RGB."""
    if isinstance(message, CompressedImage):
        try:
            return decode_jpeg(torch.frombuffer(message.data, dtype=torch.uint8), mode=ImageReadMode.RGB)
        except RuntimeError:
            return None
    if message.encoding not in CHANNELS or len(message.data) < message.step * message.height:
        return None
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = rows[:, : message.width * 3].reshape(message.height, message.width, 3)
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)
    return channels_first if message.encoding == "rgb8" else channels_first[CHANNELS[message.encoding]]


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    rclpy.init()
    node = BaselineNode()
    signal.signal(signal.SIGTERM, lambda *_: rclpy.try_shutdown())
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
