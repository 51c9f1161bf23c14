"""A head learns the depth of a real scene: the motorcycle of the Middlebury stereo sets, from
scikit-image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from node_process import run
from PIL import Image
from pixio_engine.heads import resized
from pixio_train.dataset import Dataset
from pixio_train.metrics import DepthFigures
from safetensors.torch import load_file
from training_data import model_folder, train

# Of the left camera: focal length in pixels, distance of the cameras in millimetres, offset of their
# principal points.
FOCAL_LENGTH, BASELINE_MM, OFFSET = 994.978, 193.001, 31.086


@pytest.fixture(scope="module")
def motorcycle(tmp_path_factory) -> Path:
    """A data set of one image."""
    from skimage import data

    left, _, disparity = data.stereo_motorcycle()
    folder = tmp_path_factory.mktemp("motorcycle")
    (folder / "rgb").mkdir()
    (folder / "depth").mkdir()
    known = np.isfinite(disparity) & (disparity > 0)
    depth_mm = np.where(known, BASELINE_MM * FOCAL_LENGTH / (np.where(known, disparity, 1) + OFFSET), 0)
    Image.fromarray(left).save(folder / "rgb/motorcycle.png")
    Image.fromarray(depth_mm.round().astype(np.uint16)).save(folder / "depth/motorcycle.png")
    height, width = depth_mm.shape
    (folder / "camera.yaml").write_text(
        f"{{width: {width}, height: {height}, fx: {FOCAL_LENGTH}, fy: {FOCAL_LENGTH}, "
        "cx: 311.193, cy: 254.877}\n"
    )
    return folder


def test_a_dpt_head_learns_a_real_scene(motorcycle, tmp_path):
    model = model_folder(tmp_path / "model", hidden_size=192, num_attention_heads=3)
    figures, card = train(
        model,
        motorcycle,
        tmp_path / "depth.safetensors",
        "--held-out",
        motorcycle,
        "--no-flip",
        "--cache",
        tmp_path,
        "--epochs",
        "120",
        "--learning-rate",
        "3e-3",
        head="dpt",
        size=None,
    )
    assert figures["delta1"] > 0.95 and figures["pixels"] > 250_000, figures
    # The node says the same of it.
    written = run(
        "infer",
        "--model",
        model,
        "--device",
        "cpu",
        "--image",
        motorcycle / "rgb/motorcycle.png",
        "--out",
        tmp_path,
        "--depth-head",
        tmp_path / "depth.safetensors",
    )
    assert written.returncode == 0, written.stderr
    [image] = Dataset.open(motorcycle, "depth").images
    depth = load_file(tmp_path / "motorcycle.safetensors")["depth"]
    of_node = DepthFigures(max_depth=10)
    whole = resized(depth.view(1, 1, *depth.shape[-2:]), image.size[::-1])[0, 0]
    of_node.add(whole, torch.from_numpy(image.depth()))
    assert of_node.result()["delta1"] == pytest.approx(figures["delta1"], abs=0.005)
    assert card["task"]["focal_length"] == pytest.approx(FOCAL_LENGTH * (256 / 741 * 256 / 500) ** 0.5)
