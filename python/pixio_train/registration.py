"""Depth of one camera as another camera beside it would see it."""

from collections import deque
from typing import Any

import numpy as np

from .dataset import Camera

# Along one side of a pixel of depth.
MOST_RAYS = 6


def registered(depth: np.ndarray, camera: Camera, color: Camera, color_from_depth: np.ndarray) -> np.ndarray:
    """float32 metres [color.height, color.width], 0 unknown, from `depth` [camera.height, camera.width]. The
    4x4 matrix takes points in the depth camera's optical frame to the colour camera's. The nearest on a pixel
    stays."""
    n_rays = rays_per_pixel(depth, camera, color, color_from_depth)
    x, y, z = color_from_depth[:3] @ points(depth, camera, n_rays)
    in_front = z > 0
    x, y, z = x[in_front], y[in_front], z[in_front]
    u, v = (
        np.rint(f * axis / z + c).astype(int)
        for f, axis, c in ((color.fx, x, color.cx), (color.fy, y, color.cy))
    )
    inside = (u >= 0) & (u < color.width) & (v >= 0) & (v < color.height)
    u, v, z = u[inside], v[inside], z[inside]
    far_to_near = np.argsort(-z, kind="stable")
    result = np.zeros((color.height, color.width), np.float32)
    # Of several values for one pixel the last is kept.
    result[v[far_to_near], u[far_to_near]] = z[far_to_near]
    return result


def rays_per_pixel(depth: np.ndarray, camera: Camera, color: Camera, color_from_depth: np.ndarray) -> int:
    """Along one side of a pixel of depth, as many as leave no gaps between them in the colour image."""
    before = points(depth, camera, 1)
    after = (color_from_depth @ before)[2]
    if not (after > 0).any():
        return 1
    # A few stray points at the lens are no reason for more.
    nearer = np.percentile(before[2][after > 0] / after[after > 0], 95)
    larger = max(color.fx / camera.fx, color.fy / camera.fy) * nearer
    return int(np.clip(np.ceil(larger - 1e-6), 1, MOST_RAYS))


def points(depth: np.ndarray, camera: Camera, n_rays: int) -> np.ndarray:
    """[4, n] points of the known pixels in the camera's frame, `n_rays` squared of each."""
    rows, columns = np.nonzero(depth.repeat(n_rays, 0).repeat(n_rays, 1))
    z = depth[rows // n_rays, columns // n_rays].astype(np.float64)
    u, v = ((index + 0.5) / n_rays - 0.5 for index in (columns, rows))
    return np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z, np.ones_like(z)])


def transform(transforms: list, target: str, source: str) -> np.ndarray | None:
    """The 4x4 matrix that takes points in frame `source` to frame `target`, over any chain of
    TransformStamped."""
    neighbours: dict[str, list[tuple[str, np.ndarray]]] = {}
    for one in transforms:
        parent, child = (frame.lstrip("/") for frame in (one.header.frame_id, one.child_frame_id))
        matrix = matrix_of(one.transform)
        neighbours.setdefault(child, []).append((parent, matrix))
        neighbours.setdefault(parent, []).append((child, np.linalg.inv(matrix)))
    todo, seen = deque([(source, np.eye(4))]), {source}
    while todo:
        frame, here = todo.popleft()
        if frame == target:
            return here
        for other, matrix in neighbours.get(frame, []):
            if other not in seen:
                seen.add(other)
                todo.append((other, matrix @ here))
    return None


def matrix_of(transform: Any) -> np.ndarray:
    """Parent from child."""
    q, t = transform.rotation, transform.translation
    x, y, z, w = np.array([q.x, q.y, q.z, q.w]) / np.linalg.norm([q.x, q.y, q.z, q.w])
    result = np.eye(4)
    result[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    result[:3, 3] = t.x, t.y, t.z
    return result
