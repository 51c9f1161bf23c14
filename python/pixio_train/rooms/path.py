"""Where the camera stands and looks."""

import math
from dataclasses import dataclass

import numpy as np

from .draw import Draw
from .scene import Room

# Metres: nothing comes nearer to the camera.
MARGIN = 0.35
NEAREST_TARGET = 1.3
# Those of a camera on a robot's mast, metres and radians.
HEIGHTS, PITCHES = (0.9, 1.4), (0.08, 0.38)


@dataclass(frozen=True)
class Pose:
    """`at` in metres; looks along `yaw` and down by `pitch`, turned about the view by `roll`, radians."""

    at: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float

    def axes(self) -> np.ndarray:
        """Right, up and backwards as columns."""
        forward = np.array(
            [
                math.cos(self.yaw) * math.cos(self.pitch),
                math.sin(self.yaw) * math.cos(self.pitch),
                -math.sin(self.pitch),
            ]
        )
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
        target = piece.x + draw.between(-0.4, 0.4), piece.y + draw.between(-0.4, 0.4)
    else:
        target = draw.between(-0.5, 0.5) * room.width, draw.between(-0.5, 0.5) * room.depth
    x, y = place
    if math.dist(place, target) < NEAREST_TARGET:
        return None
    yaw = math.atan2(target[1] - y, target[0] - x)
    return Pose((x, y, draw.between(*HEIGHTS)), yaw, draw.between(*PITCHES), draw.between(-0.03, 0.03))


def smooth(draw: Draw, room: Room, n: int) -> list[Pose] | None:
    """A slow walk along a line while looking about; None if the way was not free."""
    ends = free_place(draw, room), free_place(draw, room)
    if None in ends or not 1.0 < math.dist(*ends) < 3.5:
        return None
    z, height_change = draw.between(1.05, 1.25), draw.between(-0.15, 0.15)
    yaw, sweep = draw.between(-math.pi, math.pi), draw.one_of((-1, 1)) * draw.between(1.0, 1.8)
    poses = []
    for i in range(n):
        share = i / max(1, n - 1)
        eased = share * share * (3 - 2 * share)
        x, y = (a + (b - a) * eased for a, b in zip(*ends))
        if not room.is_free(x, y, MARGIN):
            return None
        poses.append(
            Pose((x, y, z + height_change * eased), yaw + sweep * eased, 0.2 + 0.08 * math.sin(5 * share), 0)
        )
    return poses


def free_place(draw: Draw, room: Room) -> tuple[float, float] | None:
    for _ in range(40):
        x, y = draw.between(-0.5, 0.5) * room.width, draw.between(-0.5, 0.5) * room.depth
        if room.is_free(x, y, MARGIN):
            return x, y
    return None
