"""Writes where OpenCV's projectPoints and fisheye.projectPoints see rays, for tests/it/lenses.rs.

    make_lenses.py OUT.safetensors

Tensors, float64 unless said, of every lens MODEL.NAME, MODEL as a CameraInfo names it:
    lens/MODEL.NAME/d       [n]     coefficients as a driver sends them, often with zeros at the end
    lens/MODEL.NAME/k       [4]     fx, fy, cx, cy
    lens/MODEL.NAME/rays    [m, 2]  x/z and y/z
    lens/MODEL.NAME/pixels  [m, 2]  where OpenCV sees them
    lens/MODEL.NAME/kinds   [m]     uint8: 1 between the axis and the first fold, 0 beyond one
"""

import sys

import cv2
import numpy as np
from safetensors.numpy import save_file

COUNTS = (4, 5, 8, 12, 14)
N_LENSES, N_RAYS = 60, 60

# Plausible numbers in the shapes that drivers send.
# fmt: off
REAL = {
    "plumb_bob.realsense": [0.0] * 5,
    "plumb_bob.usb_cam": [-0.338, 0.121, 0.00052, -0.00081, -0.019],
    "plumb_bob.four": [-0.281, 0.069, 0.0007, -0.0003],
    "plumb_bob.zed": [-0.0412, 0.0118, 0.0001, -0.0002, -0.0051, 0.0, 0.0, 0.0],
    "rational_polynomial.azure_kinect": [0.511, -2.612, 0.00048, -0.00021, 1.472, 0.391, -2.437, 1.402],
    "rational_polynomial.zed": [1.92, -0.41, 0.00007, -0.0001, 0.012, 2.01, -0.22, -0.031, 0.0, 0.0, 0.0,
        0.0],
    "rational_polynomial.five": [-0.174, 0.0283, 0.0002, 0.0001, -0.0021],
    "rational_polynomial.oak_d": [9.23, -4.81, 0.0004, -0.0007, 21.7, 9.11, -5.02, 22.4, 0.0, 0.0, 0.0,
        0.0, 0.0, 0.0],
    "rational_polynomial.oak_d_wide": [2.41, 1.02, 0.0001, 0.0002, 0.038, 2.78, 1.83, 0.211, 0.0, 0.0, 0.0,
        0.0, 0.0, 0.0],
    "rational_polynomial.tilted": [-0.31, 0.11, 0.0003, 0.0002, -0.016, 0.01, 0.002, 0.0, 0.001, 0.0,
        -0.002, 0.0, 0.03, -0.05],
    "equidistant.fisheye": [-0.0081, 0.0421, -0.0393, 0.0071],
    "equidistant.padded": [0.0342, -0.0061, 0.0021, -0.0004, 0.0, 0.0, 0.0, 0.0],
    "equidistant.ideal": [0.0] * 4,
}
# fmt: on


def project(model: str, k, d, rays) -> np.ndarray:
    """Pixels [m, 2] by OpenCV."""
    matrix = np.array([[k[0], 0, k[2]], [0, k[1], k[3]], [0, 0, 1.0]])
    points = np.concatenate([rays, np.ones((len(rays), 1))], -1)[:, None]
    still = np.zeros(3)
    if model == "equidistant":
        return cv2.fisheye.projectPoints(points, still, still, matrix, np.asarray(d[:4]))[0][:, 0]
    n = max((i + 1 for i, value in enumerate(d) if value), default=0)
    count = next(count for count in COUNTS if n <= count)
    padded = np.concatenate([d[:n], np.zeros(count - n)])
    return cv2.projectPoints(points, still, still, matrix, padded)[0][:, 0]


def kinds(model: str, d, rays) -> np.ndarray:
    """1 where there is no fold on the way from the axis, 0 where there is one, 2 where it is a matter of
    rounding or no image reaches so far."""
    way = np.linspace(0.0025, 1, 400)
    points = (way[:, None, None] * rays).reshape(-1, 2)
    step, unit = 1e-5, (1.0, 1.0, 0.0, 0.0)
    x, y = (
        (project(model, unit, d, points + side) - project(model, unit, d, points - side)) / (2 * step)
        for side in (np.array([step, 0]), np.array([0, step]))
    )
    along = (len(way), len(rays))
    least = (x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]).reshape(along).min(axis=0)
    # Without tilt, which only moves what the lens shows.
    farthest = np.abs(project(model, unit, d[:12], points)).max(axis=-1).reshape(along).max(axis=0)
    return np.select([farthest > 5, least > 0.05, least < -0.05], [2, 1, 0], 2).astype(np.uint8)


def random_lens(random, n: int, strength: float) -> list[float]:
    """`n` Brown-Conrady coefficients: radial, tangential, rational, thin prism, tilt."""
    scales = [0.3, 0.1, 0.004, 0.004, 0.05, 0.2, 0.1, 0.03, 0.004, 0.002, 0.004, 0.002, 0.05, 0.05]
    return (strength * np.array(scales[:n]) * random.normal(size=n)).tolist()


def lenses(random):
    yield from REAL.items()
    for index in range(N_LENSES):
        strength = (0.5, 1.0, 2.5)[index % 3]
        for n in COUNTS:
            model = ("plumb_bob", "rational_polynomial")[index % 2]
            zeros = [0.0] * int(random.integers(0, 15 - n))
            yield f"{model}.{n}_{index}", random_lens(random, n, strength) + zeros
        yield (
            f"equidistant.{index}",
            (strength * np.array([0.06, 0.02, 0.01, 0.003]) * random.normal(size=4)).tolist(),
        )


def main():
    random, tensors, n_beyond = np.random.default_rng(1), {}, 0
    for name, d in lenses(random):
        model = name.split(".")[0]
        k = [
            random.uniform(200, 1500),
            random.uniform(200, 1500),
            random.uniform(100, 900),
            random.uniform(100, 700),
        ]
        angles = np.deg2rad(random.uniform(0, 88 if model == "equidistant" else 70, N_RAYS))
        turns = random.uniform(0, 2 * np.pi, N_RAYS)
        rays = np.tan(angles)[:, None] * np.stack([np.cos(turns), np.sin(turns)], -1)
        found = kinds(model, d, rays)
        rays, found = rays[found != 2], found[found != 2]
        n_beyond += int((found == 0).sum())
        parts = {"d": np.array(d), "k": np.array(k), "rays": rays, "pixels": project(model, k, d, rays)}
        tensors |= {
            f"lens/{name}/{part}": np.ascontiguousarray(value, np.float64) for part, value in parts.items()
        }
        tensors[f"lens/{name}/kinds"] = found
    n = sum(len(value) for name, value in tensors.items() if name.endswith("/kinds"))
    assert n_beyond > n / 20 and n - n_beyond > n / 2, (n, n_beyond)
    save_file(tensors, sys.argv[1])
    print(f"{n} rays of {len(tensors) // 5} lenses, {n_beyond} beyond a fold")


if __name__ == "__main__":
    main()
