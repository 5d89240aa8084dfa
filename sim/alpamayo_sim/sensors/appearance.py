"""The appearance of road users and props: each is a few upright boxes with sides that may lean inwards.

A part is given in shares of its owner's box, so that a long car has a long bonnet. ``lean`` is the distance that each
side moves inwards per metre of height: 0 is a box, more makes a windscreen or a cone.
"""

import enum
import zlib
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float32, Int8, Int32

from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.sensors.semantic import SEMANTIC_OF_CATEGORY

Array = np.ndarray


class Surface(enum.IntEnum):
    """How the sides of a part are painted; the camera kernel knows the same numbers."""

    PLAIN = 0
    CAR_BODY = 1
    CABIN = 2
    CARGO = 3
    BUS = 4
    STRIPES = 5
    CONE = 6
    BUILDING = 7
    LEAVES = 8
    DEBRIS = 9
    PERSON = 10
    SIGNAL = 11
    FUR = 12


@dataclass(frozen=True)
class Part:
    """Shares of the owner's length, width, height: centre along x, length, width, bottom and top.

    ``lean`` is forward and sideways, in m per m. ``colour`` None takes the owner's own colour.
    """

    surface: Surface
    x: float
    length: float
    width: float
    bottom: float
    top: float
    lean: tuple[float, float] = (0.0, 0.0)
    colour: tuple[int, int, int] | None = None


GLASS, RUBBER, STEEL, SKIN = (40, 50, 60), (34, 34, 37), (120, 124, 130), (224, 172, 140)
BOX = (Part(Surface.PLAIN, 0.0, 1.0, 1.0, 0.0, 1.0),)
CAR = (
    Part(Surface.CAR_BODY, 0.0, 1.0, 1.0, 0.0, 0.62, (0.0, 0.04)),
    Part(Surface.CABIN, -0.06, 0.66, 0.92, 0.6, 1.0, (0.75, 0.28)),
)
TALL_CAR = (
    Part(Surface.CAR_BODY, 0.0, 1.0, 1.0, 0.0, 0.58, (0.0, 0.02)),
    Part(Surface.CABIN, -0.1, 0.78, 0.96, 0.57, 1.0, (0.3, 0.12)),
)
TRUCK = (
    Part(Surface.CARGO, -0.14, 0.72, 1.0, 0.0, 1.0),
    Part(Surface.CABIN, 0.36, 0.25, 0.96, 0.33, 0.84, (0.06, 0.02)),
    Part(Surface.CAR_BODY, 0.36, 0.28, 0.98, 0.0, 0.35),
)
BUS = (Part(Surface.BUS, 0.0, 1.0, 1.0, 0.0, 1.0, (0.02, 0.02)),)
BICYCLE = (
    Part(Surface.PLAIN, 0.0, 1.0, 0.12, 0.0, 0.42, (0.0, 0.0), RUBBER),
    Part(Surface.PERSON, -0.05, 0.36, 0.75, 0.38, 0.84, (0.1, 0.08)),
    Part(Surface.PLAIN, 0.02, 0.15, 0.34, 0.84, 1.0, (0.0, 0.0), (236, 236, 60)),
)
MOTORCYCLE = (
    Part(Surface.PLAIN, 0.0, 1.0, 0.4, 0.0, 0.52, (0.15, 0.0), RUBBER),
    Part(Surface.PERSON, -0.08, 0.3, 0.8, 0.48, 0.84, (0.1, 0.08)),
    Part(Surface.PLAIN, -0.04, 0.14, 0.36, 0.84, 1.0, (0.0, 0.0), (30, 30, 32)),
)
PEDESTRIAN = (
    Part(Surface.PERSON, 0.0, 0.8, 0.9, 0.0, 0.86, (0.03, 0.06)),
    Part(Surface.PLAIN, 0.0, 0.4, 0.36, 0.86, 1.0, (0.0, 0.0), SKIN),
)
ANIMAL = (
    Part(Surface.FUR, -0.08, 0.84, 1.0, 0.0, 0.74),
    Part(Surface.PLAIN, 0.38, 0.24, 0.5, 0.55, 1.0, (0.1, 0.1), (126, 88, 52)),
)
CONE = (
    Part(Surface.PLAIN, 0.0, 1.0, 1.0, 0.0, 0.07, (0.0, 0.0), (214, 84, 20)),
    Part(Surface.CONE, 0.0, 0.72, 0.72, 0.06, 1.0, (0.14, 0.14)),
)
TREE = (
    Part(Surface.PLAIN, 0.0, 0.16, 0.16, 0.0, 0.4, (0.0, 0.0), (104, 80, 58)),
    Part(Surface.LEAVES, 0.0, 1.0, 1.0, 0.32, 1.0, (0.18, 0.18)),
)
HEDGE = (Part(Surface.LEAVES, 0.0, 1.0, 1.0, 0.0, 1.0, (0.05, 0.05)),)
PARTS: dict[Category, tuple[Part, ...]] = {
    Category.VEHICLE: CAR,
    Category.TRUCK: TRUCK,
    Category.BUS: BUS,
    Category.MOTORCYCLE: MOTORCYCLE,
    Category.CYCLIST: BICYCLE,
    Category.PEDESTRIAN: PEDESTRIAN,
    Category.ANIMAL: ANIMAL,
    Category.CONE: CONE,
    Category.BARRIER: (Part(Surface.STRIPES, 0.0, 1.0, 1.0, 0.0, 1.0),),
    Category.DEBRIS: (Part(Surface.DEBRIS, 0.0, 1.0, 1.0, 0.0, 1.0),),
    Category.BUILDING: (Part(Surface.BUILDING, 0.0, 1.0, 1.0, 0.0, 1.0),),
    Category.VEGETATION: TREE,
}
CAR_COLOURS = (
    (196, 44, 40), (40, 84, 168), (222, 224, 226), (62, 66, 72), (150, 156, 162), (30, 110, 96),
    (232, 232, 226), (116, 40, 52), (214, 160, 44), (90, 122, 150), (176, 178, 182), (44, 52, 76),
)  # fmt: skip
TRUCK_COLOURS = ((226, 228, 230), (70, 110, 160), (200, 170, 60), (150, 60, 52), (120, 140, 120))
BUS_COLOURS = ((228, 176, 36), (190, 52, 48), (52, 112, 170), (60, 140, 100))
CLOTHES = (
    (226, 60, 88),
    (236, 132, 30),
    (76, 92, 196),
    (150, 70, 170),
    (236, 196, 50),
    (40, 150, 140),
    (220, 220, 224),
)
WALLS = ((172, 120, 96), (196, 178, 150), (150, 152, 158), (186, 146, 110), (206, 198, 184), (134, 110, 104))
GREENS = ((66, 104, 52), (84, 120, 56), (56, 92, 60))
COLOURS: dict[Category, tuple[tuple[int, int, int], ...]] = {
    Category.VEHICLE: CAR_COLOURS,
    Category.TRUCK: TRUCK_COLOURS,
    Category.BUS: BUS_COLOURS,
    Category.MOTORCYCLE: CLOTHES,
    Category.CYCLIST: CLOTHES,
    Category.PEDESTRIAN: CLOTHES,
    Category.ANIMAL: ((140, 98, 58), (110, 84, 66)),
    Category.CONE: ((244, 100, 22),),
    Category.BARRIER: ((240, 240, 236),),
    Category.DEBRIS: ((136, 100, 66), (98, 88, 82), (156, 122, 84)),
    Category.BUILDING: WALLS,
    Category.VEGETATION: GREENS,
}


def stable_hash(text: str) -> int:
    """Return a hash of an id that is the same in every process."""
    return zlib.crc32(text.encode())


def colour_of(agent_id: str, category: Category) -> tuple[int, int, int]:
    """Return the paint (RGB) of a road user or prop, from its category's colours by its id."""
    palette = COLOURS.get(category, ((170, 80, 170),))
    return palette[stable_hash(agent_id) % len(palette)]


def parts_of(category: Category, size: Float32[Array, "3"]) -> tuple[Part, ...]:
    """Return the parts of a category; tall cars become vans and low vegetation becomes a hedge."""
    length, _, height = size
    if category == Category.VEHICLE and height > 1.7:
        return TALL_CAR
    if category == Category.VEGETATION and height < 2.0:
        return HEDGE
    if category == Category.TRUCK and length < 5.5:
        return TALL_CAR
    return PARTS.get(category, BOX)


@dataclass(frozen=True, eq=False)
class PartTable:
    """The parts of all agents, part after part. ``half`` is half the length and width at the bottom (m).

    ``centre`` (m) is the offset of the part along its owner's heading; ``z`` its bottom and top (m).
    """

    owner: Int32[Array, " parts"]
    surface: Int32[Array, " parts"]
    semantic: Int32[Array, " parts"]
    centre: Float32[Array, " parts"]
    half: Float32[Array, "parts 2"]
    z: Float32[Array, "parts 2"]
    lean: Float32[Array, "parts 2"]
    colour: Float32[Array, "parts 3"]

    @classmethod
    def of_rows(cls, rows: list[list[float]]) -> "PartTable":
        """Return a table of rows owner, surface, semantic, centre, half (2), z (2), lean (2), colour (3, 0 to 1)."""
        numbers = np.array(rows, np.float64).reshape(-1, 13)
        whole, real = numbers[:, :3].astype(np.int32), numbers[:, 3:].astype(np.float32)
        columns = real[:, 0], real[:, 1:3], real[:, 3:5], real[:, 5:7], real[:, 7:10]
        return cls(whole[:, 0], whole[:, 1], whole[:, 2], *columns)

    def joined(self, other: "PartTable") -> "PartTable":
        """Return this table followed by the other."""
        names = [f.name for f in fields(self)]
        return PartTable(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))


def part_table(ids: tuple[str, ...], category: Int8[Array, " n"], size: Float32[Array, "n 3"]) -> PartTable:
    """Take agents apart. Rows with a size of zero have none."""
    rows: list[list[float]] = []
    for i, name in enumerate(ids):
        if not np.all(size[i] > 0):
            continue
        kind = Category(int(category[i]))
        own = colour_of(name, kind)
        rows += [_row(i, part, size[i], kind, own) for part in parts_of(kind, size[i])]
    return PartTable.of_rows(rows)


def _row(owner: int, part: Part, size: Float32[Array, "3"], kind: Category, own: tuple[int, int, int]) -> list[float]:
    length, width, height = (float(x) for x in size)
    half = 0.5 * part.length * length, 0.5 * part.width * width
    bottom, top = part.bottom * height, part.top * height
    rise = top - bottom
    lean = [min(k, 0.9 * h / rise) for k, h in zip(part.lean, half, strict=True)]
    red, green, blue = part.colour or own
    return [
        owner,
        part.surface,
        SEMANTIC_OF_CATEGORY[kind],
        part.x * length,
        *half,
        bottom,
        top,
        *lean,
        red / 255.0,
        green / 255.0,
        blue / 255.0,
    ]


def has_same_appearance(table_key: tuple[tuple[str, ...], Array, Array] | None, agents: Agents) -> bool:
    """Return whether a part table made for ``table_key`` (ids, category, size) is still valid."""
    if table_key is None:
        return False
    ids, category, size = table_key
    same = np.array_equal(category, agents.category) and np.array_equal(size, agents.size)
    return same and (ids is agents.ids or ids == agents.ids)
