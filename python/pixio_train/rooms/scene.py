"""One random room as a MuJoCo model: walls, furniture, lights and a camera that can be put anywhere."""

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from .draw import Draw
from .furniture import KINDS, Furniture, Part, cabinet, chair, small_thing, sofa, table, thing
from .textures import SIDE, picture, texture

CLASSES = {
    "floor": [120, 90, 60],
    "wall": [200, 200, 180],
    "ceiling": [235, 235, 245],
    "table": [230, 140, 30],
    "chair": [40, 110, 220],
    "sofa": [170, 60, 160],
    "cabinet": [40, 150, 90],
    "object": [220, 50, 50],
}
# Usual colours: ranges of saturation, value and hue, one of which is drawn.
WOOD, DARK_WOOD, PALE = (
    ((0.35, 0.75), (0.4, 0.8), (0.05, 0.11)),
    ((0.3, 0.7), (0.15, 0.4), (0.03, 0.09)),
    ((0, 0.15), (0.75, 1), (0, 1)),
)
LOOKS = {
    "floor": (((0.2, 0.6), (0.25, 0.65), (0.04, 0.12)), ((0, 0.15), (0.2, 0.6), (0, 1))),
    "wall": (PALE,),
    "ceiling": (((0, 0.06), (0.88, 1), (0, 1)),),
    "table": (WOOD, WOOD, PALE),
    "cabinet": (PALE, DARK_WOOD, WOOD),
    "chair": (((0, 0.3), (0.05, 0.3), (0, 1)), ((0.5, 0.9), (0.3, 0.8), (0, 1)), WOOD),
    "sofa": (((0.15, 0.6), (0.2, 0.75), (0, 1)),),
    "object": (((0.5, 1), (0.4, 1), (0, 1)),),
}
CAMERA = "eye"
SHAPES = {
    name: getattr(mujoco.mjtGeom, f"mjGEOM_{name.upper()}")
    for name in ("box", "sphere", "cylinder", "capsule", "ellipsoid")
}
Box = tuple[float, float, float, float]


@dataclass
class Placed:
    furniture: Furniture
    x: float
    y: float
    yaw: float

    def box(self, margin: float = 0) -> Box:
        """Left, low, right and high of its footprint, metres."""
        (a, b), sine, cosine = self.furniture.half, abs(math.sin(self.yaw)), abs(math.cos(self.yaw))
        x, y = a * cosine + b * sine + margin, a * sine + b * cosine + margin
        return (self.x - x, self.y - y, self.x + x, self.y + y)


@dataclass
class Room:
    """The floor's centre is the origin; metres."""

    width: float
    depth: float
    height: float
    placed: list[Placed]

    def is_free(self, x: float, y: float, margin: float) -> bool:
        """Nothing stands at or over the place."""
        inside = abs(x) < self.width / 2 - margin and abs(y) < self.depth / 2 - margin
        return inside and not any(overlap(one.box(margin), (x, y, x, y)) for one in self.placed)


def furnished(draw: Draw) -> Room:
    room = Room(draw.between(3.5, 6.5), draw.between(3.2, 5.5), draw.between(2.4, 2.8), [])
    n = round(room.width * room.depth / 3.2) + draw.whole(1, 3)
    kinds = [table, sofa, cabinet, thing, chair, chair] + [draw.one_of(KINDS) for _ in range(n)]
    # Tables first: chairs look for one.
    for kind in sorted(kinds[:n], key=lambda kind: kind is not table):
        furniture = kind(draw)
        place = next(
            (place for place in (somewhere(draw, room, furniture) for _ in range(25)) if fits(room, place)),
            None,
        )
        if place:
            room.placed.append(place)
    return room


def usual_color(draw: Draw, label: str) -> np.ndarray:
    """A usual colour of such a thing."""
    return draw.color(*draw.one_of(LOOKS[label]))


def somewhere(draw: Draw, room: Room, furniture: Furniture) -> Placed:
    tables = [one for one in room.placed if one.furniture.label == "table"]
    if furniture.label == "chair" and tables and draw.happens(0.7):
        at = draw.one_of(tables)
        side = draw.whole(0, 3)
        away = at.furniture.half[side % 2 == 0] + furniture.half[1] + draw.between(0.02, 0.3)
        angle = at.yaw + side * math.pi / 2
        x, y = at.x - away * math.sin(angle), at.y + away * math.cos(angle)
        return Placed(furniture, x, y, angle + math.pi + draw.between(-0.3, 0.3))
    if not furniture.stands_at_wall:
        x, y = draw.between(-0.5, 0.5) * room.width, draw.between(-0.5, 0.5) * room.depth
        return Placed(furniture, x, y, draw.between(-math.pi, math.pi))
    side, off = draw.whole(0, 3), furniture.half[1] + draw.between(0.02, 0.08)
    along, across = (room.width, room.depth) if side % 2 == 0 else (room.depth, room.width)
    x, y = draw.between(-0.5, 0.5) * along, off - across / 2
    angle = side * math.pi / 2
    return Placed(
        furniture, x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle), angle
    )


def fits(room: Room, place: Placed) -> bool:
    left, low, right, high = place.box()
    inside = (
        left > -room.width / 2 and right < room.width / 2 and low > -room.depth / 2 and high < room.depth / 2
    )
    return inside and not any(overlap(one.box(), (left, low, right, high)) for one in room.placed)


def overlap(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def model(draw: Draw, room: Room, size: tuple[int, int], fovy: float) -> mujoco.MjModel:
    """`size` is width and height in pixels, `fovy` degrees. Geoms are called CLASS:NUMBER."""
    return Builder(draw, size, fovy).build(room)


class Builder:
    def __init__(self, draw: Draw, size: tuple[int, int], fovy: float) -> None:
        self.draw = draw
        self.spec = spec = mujoco.MjSpec()
        spec.visual.global_.offwidth, spec.visual.global_.offheight = size
        spec.visual.quality.shadowsize = 2048
        spec.visual.quality.offsamples = 4
        # Metres, as the extent is one.
        spec.stat.extent, spec.visual.map.znear, spec.visual.map.zfar = 1, 0.05, 20
        spec.visual.headlight.ambient = [draw.between(0.3, 0.55)] * 3
        spec.visual.headlight.diffuse = [draw.between(0, 0.2)] * 3
        spec.visual.headlight.specular = [0, 0, 0]
        spec.worldbody.add_camera(name=CAMERA, fovy=fovy)

    def build(self, room: Room) -> mujoco.MjModel:
        self.shell(room)
        for placed in room.placed:
            self.furniture(placed)
        self.lights(room)
        return self.spec.compile()

    def shell(self, room: Room) -> None:
        draw, (x, y, z) = self.draw, (room.width / 2, room.depth / 2, room.height)
        wall = self.surface(draw.color((0, 0.3), (0.6, 0.95)), share_plain=0.7, is_flat=True)
        other = self.surface(draw.color((0, 0.5), (0.5, 0.95)), share_plain=0.5, is_flat=True)
        floor = self.surface(usual_color(draw, "floor"), share_plain=0.15, is_flat=True)
        ceiling = self.surface(usual_color(draw, "ceiling"), share_plain=0.9, is_flat=True)
        self.plane("floor", (x, y), (0, 0, 0), np.eye(3), floor)
        self.plane("ceiling", (x, y), (0, 0, z), np.diag([1, -1, -1]), ceiling)
        up = np.array([0, 0, 1])
        for normal, material in (((1, 0), wall), ((-1, 0), wall), ((0, 1), wall), ((0, -1), other)):
            inward = np.array([*normal, 0])
            axes = np.stack([np.cross(up, inward), up, inward], axis=1)
            half = y if normal[0] else x
            centre = -inward * (x, y, 0)
            self.plane("wall", (half, z / 2), (*centre[:2], z / 2), axes, material)
            for layer in range(draw.whole(0, 2)):
                self.hung(centre + inward * 0.01 * (1 + layer), axes, half, z)
        if draw.happens(0.3):
            side = draw.length(0.1, 0.25)
            place = Placed(
                Furniture("wall", (side, side), z), draw.between(-x, x) * 0.8, draw.between(-y, y) * 0.8, 0
            )
            if fits(room, place):
                place.furniture.box((-side, side), (-side, side), (0, z))
                room.placed.append(place)

    def hung(self, centre: np.ndarray, axes: np.ndarray, half: float, height: float) -> None:
        """A picture, a window or a door: all are wall."""
        draw = self.draw
        kind = draw.one_of(("picture", "window", "door"))
        a, b = {"picture": (0.2, 0.5), "window": (0.4, 0.9), "door": (0.35, 0.5)}[kind]
        wide = min(draw.length(a, b), half)
        tall = 1.0 if kind == "door" else wide * draw.between(0.7, 1.3)
        level = 1.0 if kind == "door" else min(draw.between(1.3, 1.6), height - tall)
        at = centre + axes[:, 0] * draw.between(-1, 1) * (half - wide) + np.array([0, 0, level])
        if kind == "picture":
            material = self.material(picture(draw), (0.5 / wide, 0.5 / tall), is_flat=True)
        elif kind == "window":
            material = self.material(draw.color((0, 0.3), (0.8, 1)), emission=0.7)
        else:
            material = self.surface(draw.color((0, 0.6), (0.2, 0.9)), is_flat=True)
        self.plane("wall", (wide, tall), at, axes, material)

    def furniture(self, placed: Placed) -> None:
        draw, furniture = self.draw, placed.furniture
        main = usual_color(draw, furniture.label)
        surfaces = [
            self.surface(main),
            self.surface(draw.color((0, 0.6), (0.05, 0.9)), share_plain=0.7),
            self.surface(np.clip(main * draw.between(0.6, 1.3), 0, 1)),
            self.surface(draw.color((0.2, 1), (0.3, 1))),
            self.surface(draw.color((0.4, 0.9), (0.2, 0.7), (0.2, 0.45))),
            self.surface(draw.color((0, 1), (0.05, 1))),
        ]
        self.parts(placed, furniture.label, furniture.parts, surfaces)
        if furniture.label == "table":
            for _ in range(draw.whole(0, 3)):
                self.parts(placed, "object", small_thing(draw, furniture), surfaces)

    def parts(self, placed: Placed, label: str, parts: list[Part], surfaces: list[str]) -> None:
        sine, cosine = math.sin(placed.yaw), math.cos(placed.yaw)
        for part in parts:
            x, y, z = part.at
            turned, yaw, quaternion = np.zeros(4), np.zeros(4), np.zeros(4)
            mujoco.mju_euler2Quat(turned, np.radians(np.array(part.turned, float)), "xyz")
            mujoco.mju_axisAngle2Quat(yaw, np.array([0.0, 0, 1]), placed.yaw)
            mujoco.mju_mulQuat(quaternion, yaw, turned)
            at = (placed.x + x * cosine - y * sine, placed.y + x * sine + y * cosine, z)
            self.geom(
                label, SHAPES[part.shape], (*part.size, 0, 0)[:3], at, quaternion, surfaces[part.surface]
            )

    def lights(self, room: Room) -> None:
        draw = self.draw
        n = draw.whole(1, 3)
        for i in range(n):
            color = (
                draw.color((0, 0.25), (0.6, 1), draw.one_of(((0.07, 0.15), (0.55, 0.62))))
                * draw.between(0.7, 1.2)
                / n**0.5
            )
            at = draw.between(-0.4, 0.4) * room.width, draw.between(-0.4, 0.4) * room.depth, room.height - 0.1
            self.spec.worldbody.add_light(
                pos=at,
                dir=[draw.between(-0.4, 0.4), draw.between(-0.4, 0.4), -1],
                type=mujoco.mjtLightType.mjLIGHT_SPOT,
                castshadow=i == 0 or draw.happens(0.5),
                cutoff=80,
                exponent=draw.between(0, 2),
                diffuse=color,
                specular=0.3 * color,
                ambient=0.1 * color,
                attenuation=[1, 0, draw.between(0, 0.05)],
            )

    def surface(self, color: np.ndarray, share_plain: float = 0.4, is_flat: bool = False) -> str:
        """Plain or with a pattern of two colours."""
        draw = self.draw
        if draw.happens(share_plain):
            return self.material(color)
        other = color * draw.between(0.5, 0.9) if draw.happens(0.8) else draw.color((0, 0.8), (0.1, 1))
        repeat = draw.between(0.5, 1.5)
        return self.material(texture(draw, color, other), (repeat, repeat), is_flat)

    def material(
        self,
        look: np.ndarray,
        repeat: tuple[float, float] = (1, 1),
        is_flat: bool = False,
        emission: float = 0,
    ) -> str:
        """`look` is a colour or a texture. Flat ones are for planes, `repeat` per metre; others show once on
        every face."""
        name = f"m{len(self.spec.materials)}"
        material = self.spec.add_material(
            name=name,
            texrepeat=repeat,
            texuniform=is_flat,
            emission=emission,
            specular=self.draw.between(0, 0.3),
            shininess=self.draw.between(0.1, 0.6),
        )
        if look.ndim == 1:
            material.rgba = [*look, 1]
            return name
        kind, n_faces = (
            (mujoco.mjtTexture.mjTEXTURE_2D, 1) if is_flat else (mujoco.mjtTexture.mjTEXTURE_CUBE, 6)
        )
        image = self.spec.add_texture(name=name, type=kind, width=SIDE, height=SIDE * n_faces, nchannel=3)
        image.data = np.tile(look, (n_faces, 1, 1)).tobytes()
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        return name

    def plane(
        self, label: str, half: tuple[float, float], at: tuple, axes: np.ndarray, material: str
    ) -> None:
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, axes.astype(float).flatten())
        self.geom(label, mujoco.mjtGeom.mjGEOM_PLANE, (*half, 1), at, quaternion, material)

    def geom(
        self, label: str, shape: int, size: tuple, at: tuple, quaternion: np.ndarray, material: str
    ) -> None:
        self.spec.worldbody.add_geom(
            name=f"{label}:{len(self.spec.geoms)}",
            type=shape,
            size=size,
            pos=at,
            quat=quaternion,
            material=material,
            contype=0,
            conaffinity=0,
        )


def class_numbers(model: mujoco.MjModel) -> np.ndarray:
    """uint8, by geom."""
    names = list(CLASSES)
    return np.array([names.index(model.geom(i).name.partition(":")[0]) for i in range(model.ngeom)], np.uint8)
