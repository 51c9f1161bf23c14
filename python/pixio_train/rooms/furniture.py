"""Furniture from primitives. Its own frame: x to the right, y to the front, z up from the floor, metres.

The two splits build every kind in other ways and with lengths of other bands.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .draw import Draw

Triple = tuple[float, float, float]


@dataclass
class Part:
    """`size` is half the sides of a box or ellipsoid; radius and half the length of an upright cylinder or
    capsule."""

    shape: str
    size: tuple[float, ...]
    at: Triple
    surface: int = 0
    # Degrees about x, y and z.
    turned: Triple = (0, 0, 0)


@dataclass
class Furniture:
    label: str
    # Half of its sides, and its height.
    half: tuple[float, float]
    height: float
    parts: list[Part] = field(default_factory=list)
    stands_at_wall: bool = False

    def box(
        self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], surface: int = 0
    ) -> None:
        """From the first to the second of each."""
        size = tuple((high - low) / 2 for low, high in (x, y, z))
        self.parts.append(Part("box", size, tuple((low + high) / 2 for low, high in (x, y, z)), surface))

    def rod(
        self,
        x: float,
        y: float,
        z: tuple[float, float],
        radius: float,
        surface: int = 0,
        shape: str = "cylinder",
    ) -> None:
        self.parts.append(Part(shape, (radius, (z[1] - z[0]) / 2), (x, y, (z[0] + z[1]) / 2), surface))

    def legs(self, top: float, thick: float, surface: int = 1, is_round: bool = False) -> None:
        for x in (-self.half[0] + thick, self.half[0] - thick):
            for y in (-self.half[1] + thick, self.half[1] - thick):
                if is_round:
                    self.rod(x, y, (0, top), thick / 2, surface)
                else:
                    self.box(
                        (x - thick / 2, x + thick / 2), (y - thick / 2, y + thick / 2), (0, top), surface
                    )


def table(draw: Draw) -> Furniture:
    half, height, thick = (
        (draw.length(0.4, 0.9), draw.length(0.3, 0.5)),
        draw.length(0.4, 0.8),
        draw.length(0.025, 0.06),
    )
    made = Furniture("table", half, height, stands_at_wall=draw.happens(0.4))
    under = (0, height - thick)
    style = draw.one_of(
        {"train": ("legs", "rods", "pedestal", "desk"), "held-out": ("panels", "trestle", "rounded")}[
            draw.split
        ]
    )
    if style == "pedestal":
        made.half = (half[0] * 0.8,) * 2
        made.rod(0, 0, (height - thick, height), made.half[0])
        made.rod(0, 0, under, draw.length(0.03, 0.08), 1)
        made.rod(0, 0, (0, 0.03), made.half[0] * 0.55, 1)
        return made
    if style == "rounded":
        made.parts.append(Part("cylinder", (half[1] * 1.3, thick / 2), (0, 0, height - thick / 2)))
        made.half = (half[1] * 1.3,) * 2
        for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            made.rod(x * 0.6 * made.half[0], y * 0.6 * made.half[1], under, 0.03, 1)
        return made
    x, y = half
    made.box((-x, x), (-y, y), (height - thick, height))
    if style in ("legs", "rods", "desk"):
        made.legs(height - thick, draw.length(0.04, 0.09), is_round=style == "rods")
    if style == "desk":
        made.box((x * 0.3, x * 0.95), (-y * 0.9, y * 0.9), (0.1, height - thick))
    if style == "panels":
        for side in (-x, x - 0.04):
            made.box((side, side + 0.04), (-y, y), under, 1)
    if style == "trestle":
        for side in (-x * 0.6, x * 0.6):
            made.box((side - 0.03, side + 0.03), (-y * 0.8, y * 0.8), (0, 0.06), 1)
            made.box((side - 0.04, side + 0.04), (-0.06, 0.06), under, 1)
        made.box((-x * 0.6, x * 0.6), (-0.02, 0.02), (height * 0.4, height * 0.5), 1)
    return made


def chair(draw: Draw) -> Furniture:
    x, y = half = draw.length(0.2, 0.27), draw.length(0.2, 0.27)
    seat, top = draw.length(0.4, 0.52), draw.length(0.75, 1.1)
    made = Furniture("chair", half, top)
    made.box((-x, x), (-y, y), (seat - draw.length(0.03, 0.08), seat))
    style = draw.one_of(
        {"train": ("slab", "rods", "office", "arms"), "held-out": ("slats", "disc", "sides")}[draw.split]
    )
    if style in ("office", "disc"):
        made.rod(0, 0, (0, seat - 0.02), draw.length(0.025, 0.045), 1)
    if style == "office":
        made.box((-x, x), (-0.03, 0.03), (0.02, 0.07), 1)
        made.box((-0.03, 0.03), (-y, y), (0.02, 0.07), 1)
    if style == "disc":
        made.rod(0, 0, (0, 0.03), x, 1)
    if style in ("slab", "rods", "arms", "slats"):
        made.legs(seat - 0.03, draw.length(0.03, 0.05), is_round=style == "rods")
    if style == "sides":
        for side in (-x, x - 0.03):
            made.box((side, side + 0.03), (-y, y), (0, seat + 0.18), 1)
    if style == "arms":
        for side in (-x, x - 0.04):
            made.box((side, side + 0.04), (-y, y), (seat + 0.18, seat + 0.22), 1)
            made.box((side, side + 0.04), (y - 0.05, y - 0.01), (seat, seat + 0.18), 1)
    if style == "slats":
        for side in (-x, x - 0.04):
            made.box((side, side + 0.04), (-y, -y + 0.04), (seat, top), 1)
        for low in (0.35, 0.65, 0.9):
            made.box(
                (-x, x), (-y, -y + 0.03), (seat + (top - seat) * low - 0.04, seat + (top - seat) * low + 0.04)
            )
    else:
        made.box((-x, x), (-y, -y + 0.05), (seat + (0.1 if style == "office" else 0), top))
    return made


def sofa(draw: Draw) -> Furniture:
    n_seats = draw.whole(1, 3)
    x, y = half = 0.35 * n_seats + draw.length(0.1, 0.25), draw.length(0.38, 0.5)
    seat, top, arm = draw.length(0.35, 0.48), draw.length(0.7, 0.95), draw.length(0.1, 0.22)
    made = Furniture("sofa", half, top, stands_at_wall=draw.happens(0.7))
    style = draw.one_of({"train": ("block", "legs", "corner"), "held-out": ("rolled", "chaise")}[draw.split])
    low = 0.1 if style in ("legs", "rolled") else 0.0
    if low:
        made.legs(low, 0.06)
    made.box((-x, x), (-y, y), (low, seat - 0.12))
    width = 2 * (x - arm) / n_seats
    for i in range(n_seats):
        left = -x + arm + i * width
        made.box((left + 0.01, left + width - 0.01), (-y + 0.15, y), (seat - 0.12, seat), draw.one_of((0, 2)))
    made.box((-x, x), (-y, -y + draw.length(0.15, 0.25)), (seat - 0.12, top))
    for side in (-1, 1) if style != "chaise" else (draw.one_of((-1, 1)),):
        edge = side * (x - arm / 2)
        made.box((edge - arm / 2, edge + arm / 2), (-y, y), (low, seat + 0.12))
        if style == "rolled":
            made.parts.append(
                Part("capsule", (arm * 0.6, y - arm * 0.6), (edge, 0, seat + 0.14), 0, (90, 0, 0))
            )
    if style == "corner":
        made.box((x, x + 0.6), (-y, y + 0.5), (0, seat))
        made.half = (x + 0.6, y + 0.5)
    if draw.happens(0.5):
        made.parts.append(
            Part(
                "ellipsoid",
                (0.2, 0.08, 0.2),
                (draw.between(-0.5, 0.5) * x, -y + 0.3, seat + 0.18),
                1,
                (-15, 0, 0),
            )
        )
    return made


def cabinet(draw: Draw) -> Furniture:
    x, y = half = draw.length(0.3, 0.8), draw.length(0.15, 0.3)
    top = draw.one_of((draw.length(0.7, 1.1), draw.length(1.3, 2.1)))
    made = Furniture("cabinet", half, top, stands_at_wall=True)
    style = draw.one_of({"train": ("doors", "shelf", "drawers"), "held-out": ("raised", "grid")}[draw.split])
    if style in ("doors", "raised", "drawers"):
        low = 0.15 if style == "raised" else 0.0
        if low:
            made.legs(low, 0.05)
        made.box((-x, x), (-y, y), (low, top))
        columns, rows = (
            (2, 1) if style == "doors" else (1, draw.whole(3, 4)) if style == "drawers" else (2, 2)
        )
        width, height = 2 * x / columns, (top - low) / rows
        for column in range(columns):
            for row in range(rows):
                left, bottom = -x + column * width, low + row * height
                made.box(
                    (left + 0.02, left + width - 0.02),
                    (y, y + 0.015),
                    (bottom + 0.02, bottom + height - 0.02),
                    2,
                )
                handle = left + width / 2
                made.box(
                    (handle - 0.05, handle + 0.05),
                    (y + 0.015, y + 0.04),
                    (bottom + height / 2, bottom + height / 2 + 0.02),
                    1,
                )
        return made
    made.box((-x, x), (-y, -y + 0.02), (0, top), 2)
    n_columns, n_rows = (1, max(2, round(top / 0.35))) if style == "shelf" else (2, max(2, round(top / 0.5)))
    for i in range(n_columns + 1):
        side = -x + 0.015 + i * (2 * x - 0.03) / n_columns
        made.box((side - 0.015, side + 0.015), (-y, y), (0, top))
    for i in range(n_rows + 1):
        board = 0.015 + i * (top - 0.03) / n_rows
        made.box((-x, x), (-y, y), (board - 0.015, board + 0.015))
        if i < n_rows and draw.happens(0.7):
            full = draw.between(-0.5, 0.9) * x
            made.box(
                (-x + 0.04, full),
                (-y, y * 0.6),
                (board + 0.015, board + draw.between(0.15, 0.26)),
                draw.one_of((1, 3)),
            )
    return made


def thing(draw: Draw) -> Furniture:
    """On the floor: label `object`."""
    size = draw.length(0.1, 0.3)
    made = Furniture("object", (size, size), 2 * size)
    style = draw.one_of(
        {
            "train": ("box", "ball", "lamp", "plant", "bin"),
            "held-out": ("boxes", "globe lamp", "tree", "vase"),
        }[draw.split]
    )
    if style in ("box", "boxes"):
        made.box((-size, size), (-size * 0.8, size * 0.8), (0, 1.4 * size))
    if style == "boxes":
        made.box((-size * 0.7, size * 0.6), (-size * 0.6, size * 0.6), (1.4 * size, 2.3 * size), 1)
    if style == "ball":
        made.parts.append(Part("sphere", (size,), (0, 0, size)))
    if style == "bin":
        made.rod(0, 0, (0, 2.4 * size), size)
    if style == "vase":
        made.parts += [
            Part("ellipsoid", (size, size, 1.4 * size), (0, 0, 1.4 * size)),
            Part("cylinder", (size * 0.4, size * 0.5), (0, 0, 2.8 * size)),
        ]
    if style in ("lamp", "globe lamp"):
        made.height = top = draw.length(1.1, 1.8)
        made.rod(0, 0, (0, 0.03), size, 1)
        made.rod(0, 0, (0.03, top), 0.02, 1)
        if style == "lamp":
            made.rod(0, 0, (top - 0.2, top), max(0.12, size * 0.8))
        else:
            made.parts.append(Part("sphere", (max(0.12, size * 0.7),), (0, 0, top)))
    if style in ("plant", "tree"):
        made.height = top = draw.length(0.6, 1.5)
        made.rod(0, 0, (0, size * 1.2), size * 0.8, 1)
        made.rod(0, 0, (size, top * 0.8), 0.025, 1)
        for i in range(draw.whole(5, 8) if style == "plant" else 3):
            spread = draw.between(0.1, 0.25), draw.between(0, 360)
            if style == "plant":
                made.parts.append(
                    Part(
                        "ellipsoid",
                        (0.06, 0.03, spread[0]),
                        (0, 0, top * 0.7),
                        4,
                        (spread[0] * 300, i * 50, spread[1]),
                    )
                )
            else:
                made.parts.append(Part("sphere", (spread[0],), (0, 0, top * (0.7 + 0.15 * i)), 4))
    return made


def small_thing(draw: Draw, on: Furniture) -> list[Part]:
    """Lies on a table, label `object`: parts in the frame of the table."""
    x, y, z = draw.between(-0.6, 0.6) * on.half[0], draw.between(-0.5, 0.5) * on.half[1], on.height
    size = draw.length(0.05, 0.12)
    style = draw.one_of(
        {"train": ("box", "cup", "screen"), "held-out": ("books", "bowl", "bottle")}[draw.split]
    )
    surface = draw.one_of((3, 4, 5))
    if style == "screen":
        return [
            Part("box", (2.5 * size, 0.015, 1.5 * size), (x, y, z + 2 * size), surface),
            Part("box", (0.03, 0.05, size / 2), (x, y, z + size / 2), 1),
        ]
    return {
        "box": lambda: [Part("box", (size, size * 1.3, size), (x, y, z + size), surface)],
        "cup": lambda: [Part("cylinder", (size * 0.7, size), (x, y, z + size), surface)],
        "books": lambda: [
            Part("box", (size * 1.3, size, size / 3), (x, y, z + size * (1 + 2 * i) / 3), surface - i)
            for i in range(3)
        ],
        "bowl": lambda: [
            Part("ellipsoid", (1.4 * size, 1.4 * size, size * 0.8), (x, y, z + size * 0.7), surface)
        ],
        "bottle": lambda: [
            Part("cylinder", (size * 0.5, size), (x, y, z + size), surface),
            Part("cylinder", (size * 0.2, size * 0.6), (x, y, z + size * 2.4), surface),
        ],
    }[style]()


KINDS: tuple[Callable[[Draw], Furniture], ...] = (table, chair, sofa, cabinet, thing)
