"""Where the camera stands and looks."""

import math
from dataclasses import dataclass

import numpy as np

from .draw import Draw
from .scene import Room

# Metres: nothing comes nearer to the camera.
MARGIN = 0.35
HEIGHTS = (0.4, 1.7)


@dataclass(frozen=True)
class Pose:
    """`at` in metres; looks along `yaw` and down by `pitch`, turned about the view by `roll`, radians."""

    at: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float

    def axes(self) -> np.ndarray:
        """Right, up and backwards as columns."""
        forward = np.array([math.cos(self.yaw) * math.cos(self.pitch), math.sin(self.yaw) * math.cos(self.pitch), -math.sin(self.pitch)])
        right = np.array([math.sin(self.yaw), -math.cos(self.yaw), 0])
        up = np.cross(right, forward)
        sine, cosine = math.sin(self.roll), math.cos(self.roll)
        return np.stack([cosine * right + sine * up, cosine * up - sine * right, -forward], axis=1)


def scattered(draw: Draw, room: Room) -> Pose | None:
    """One view, mostly of furniture; None if no free place was found."""
    place = free_place(draw, room)
    if place is None:
        return None
    if room.placed and draw.happens(0.75):
        piece = draw.one_of(room.placed)
        target = piece.x + draw.between(-0.4, 0.4), piece.y + draw.between(-0.4, 0.4), piece.furniture.height * draw.between(0.2, 0.9)
    else:
        target = draw.between(-0.5, 0.5) * room.width, draw.between(-0.5, 0.5) * room.depth, draw.between(0, 1.8)
    x, y = place
    z = draw.between(*HEIGHTS)
    away = math.hypot(target[0] - x, target[1] - y)
    if away < 0.9:
        return None
    pitch = np.clip(math.atan2(z - target[2], away), -0.35, 0.6)
    return Pose((x, y, z), math.atan2(target[1] - y, target[0] - x), float(pitch), draw.between(-0.05, 0.05))


def smooth(draw: Draw, room: Room, n: int) -> list[Pose] | None:
    """A slow walk along a line while looking about; None if the way was not free."""
    ends = free_place(draw, room), free_place(draw, room)
    if None in ends or not 1.0 < math.dist(*ends) < 3.5:
        return None
    z, height_change = draw.between(0.8, 1.4), draw.between(-0.3, 0.3)
    yaw, sweep = draw.between(-math.pi, math.pi), draw.one_of((-1, 1)) * draw.between(1.0, 1.8)
    poses = []
    for i in range(n):
        share = i / max(1, n - 1)
        eased = share * share * (3 - 2 * share)
        x, y = (a + (b - a) * eased for a, b in zip(*ends))
        if not room.is_free(x, y, MARGIN):
            return None
        poses.append(Pose((x, y, z + height_change * eased), yaw + sweep * eased, 0.2 + 0.08 * math.sin(5 * share), 0))
    return poses


def free_place(draw: Draw, room: Room) -> tuple[float, float] | None:
    for _ in range(40):
        x, y = draw.between(-0.5, 0.5) * room.width, draw.between(-0.5, 0.5) * room.depth
        if room.is_free(x, y, MARGIN):
            return x, y
    return None
