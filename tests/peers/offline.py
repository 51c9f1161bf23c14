"""`pixio_node infer`, the same stages without topics, as the reference for what topics carry."""

import tempfile
from pathlib import Path

import images
import numpy as np
from node_process import run
from safetensors.numpy import load_file


def infer(image, *options: str, model: str = "random:tiny", size: str = "256x256") -> dict[str, np.ndarray]:
    """Everything that `infer` writes for one image: an RGB array (as PNG) or the bytes of an image
    file."""
    data = image if isinstance(image, bytes) else images.file_bytes(image, "PNG")
    suffix = "jpg" if data[:2] == b"\xff\xd8" else "png"
    with tempfile.TemporaryDirectory(prefix="pixio-infer-") as folder:
        file = Path(folder, f"image.{suffix}")
        file.write_bytes(data)
        done = run(
            "infer",
            "--model",
            model,
            "--size",
            size,
            "--device",
            "cpu",
            "--image",
            file,
            "--out",
            folder,
            *options,
        )
        assert done.returncode == 0, done.stderr
        return load_file(Path(folder, "image.safetensors"))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two arrays as flat vectors."""
    a, b = (np.asarray(x, np.float64).ravel() for x in (a, b))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """As a share of the largest value in `b`."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    return float(np.abs(a - b).max() / np.abs(b).max())


def labels_agree(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two label images are one but for the few pixels where two classes tie within float32's
    rounding."""
    return found.shape == expected.shape and (found == expected).mean() > 0.999
