"""The mapping file of a recording of topics: what its topics, frames and classes mean."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpamayo_datasets.fields import numbers
from alpamayo_datasets.sizes import usual_size
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import read_regular
from alpamayo_sim.io.limits import LIMITS

MAX_MAPPING_BYTES = 1 << 20
CLASSES = {
    **{category.name.lower(): category for category in Category},
    **dict.fromkeys(("car", "automobile", "suv", "van"), Category.VEHICLE),
    **dict.fromkeys(("person", "human"), Category.PEDESTRIAN),
    **dict.fromkeys(("bicycle", "bike"), Category.CYCLIST),
    "motorbike": Category.MOTORCYCLE,
    "trailer": Category.TRUCK,
    **dict.fromkeys(("trafficcone", "traffic_cone"), Category.CONE),
}
KINDS: dict[str, Any] = {
    "odometry": str,
    "ego_frame": str,
    "objects": str,
    "map": str,
    "ego_size_m": list,
    "base_to_centre_m": (int, float),
    "classes": dict,
    "source": str,
    "licence": str,
}


@dataclass(frozen=True)
class TopicMapping:
    """What a mapping file says; ``datasets/README.md`` explains the keys."""

    odometry: str | None = None
    ego_frame: str | None = None
    objects: str | None = None
    map: str | None = None
    ego_size_m: tuple[float, ...] | None = None
    base_to_centre_m: float = 0.0
    classes: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    licence: str | None = None

    def category(self, word: str, where: str) -> Category:
        """Return the category of a class: by its name, else by the last known part of it (``vehicle.car``).

        An unknown name is logged as a warning; an empty one is an object of no known class.
        """
        known = {**CLASSES, **{name.lower(): CLASSES[value] for name, value in self.classes.items()}}
        word = word.lower()
        part = next((each for each in reversed(word.split(".")) if each in known), word)
        word = word if word in known else part
        return meaning_of(word, known, Category.UNKNOWN, "class of an object", where, ("",))

    def size_m(self) -> tuple[float, ...]:
        """Return the ego's length, width and height (m), else those of a usual car."""
        return self.ego_size_m or tuple(usual_size(Category.VEHICLE).tolist())


def read_mapping(path: Path, keys: Collection[str]) -> TopicMapping:
    """Return what ``mapping.toml`` in the folder of a recording says, or ``NAME.toml`` beside it.

    Args:
        path: The recording.
        keys: Those that the format has.

    Raises:
        InputError: It is no TOML, or has an unknown key or a value of a wrong type.
    """
    file = next((each for each in (path / "mapping.toml", path.with_suffix(".toml")) if each.is_file()), None)
    if file is None:
        return TopicMapping()
    try:
        given = tomllib.loads(read_regular(file, MAX_MAPPING_BYTES).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file}: {error}") from error
    wrong = [key for key, value in given.items() if key not in keys or not isinstance(value, KINDS[key])]
    if wrong:
        raise InputError(f"{file}: {wrong[0]} is unknown, or its value is of a wrong type; keys: {', '.join(keys)}")
    if "ego_size_m" in given:
        size = numbers(given["ego_size_m"], (3,), f"{file}: ego_size_m")
        if not ((size > 0.0) & (size < LIMITS.size_m)).all():
            raise InputError(f"{file}: ego_size_m must be positive, and below {LIMITS.size_m:g} m")
        given["ego_size_m"] = tuple(size.tolist())
    if not abs(given.get("base_to_centre_m", 0.0)) < LIMITS.size_m:
        raise InputError(f"{file}: base_to_centre_m must be within {LIMITS.size_m:g} m")
    unknown = [value for value in given.get("classes", {}).values() if value not in CLASSES]
    if unknown:
        raise InputError(f"{file}: class {unknown[0]!r} is not known; must be one of {', '.join(sorted(CLASSES))}")
    return TopicMapping(**given)
