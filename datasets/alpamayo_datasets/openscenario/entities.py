"""The road users and things of a scenario file: categories, boxes and catalogs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.openscenario.expressions import resolved
from alpamayo_datasets.sizes import usual_size
from alpamayo_datasets.xml_elements import number, place, word
from alpamayo_datasets.xml_files import read_xml
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError

Array = np.ndarray

MAX_CATALOG_FILES = 200
VEHICLES = {
    "car": Category.VEHICLE,
    "van": Category.VEHICLE,
    "truck": Category.TRUCK,
    "semitrailer": Category.TRUCK,
    "trailer": Category.TRUCK,
    "bus": Category.BUS,
    "tram": Category.BUS,
    "train": Category.BUS,
    "motorbike": Category.MOTORCYCLE,
    "bicycle": Category.CYCLIST,
}
PEDESTRIANS = {"pedestrian": Category.PEDESTRIAN, "wheelchair": Category.PEDESTRIAN, "animal": Category.ANIMAL}
THINGS = {
    "barrier": Category.BARRIER,
    "guardRail": Category.BARRIER,
    "roadMark": Category.DEBRIS,
    "obstacle": Category.DEBRIS,
    "building": Category.BUILDING,
    "tree": Category.VEGETATION,
    "vegetation": Category.VEGETATION,
    "pole": Category.BARRIER,
}
KINDS: Mapping[str, tuple[str, Mapping[str, Category], Category]] = {
    "Vehicle": ("vehicleCategory", VEHICLES, Category.VEHICLE),
    "Pedestrian": ("pedestrianCategory", PEDESTRIANS, Category.PEDESTRIAN),
    "MiscObject": ("miscObjectCategory", THINGS, Category.DEBRIS),
}


@dataclass(frozen=True, eq=False)
class Entity:
    """A road user: its name, category, size (m), and the middle of its box ahead and left of its reference point."""

    name: str
    category: Category
    size: Float64[Array, "3"]
    centre: Float64[Array, "2"]


class Catalogs:
    """The catalogs of a scenario file, read at the first reference to one of them."""

    def __init__(self, root: Element, path: Path) -> None:
        self._path = path
        self._files: dict[str, tuple[Element, Path]] = {}
        self._folders = [directory.get("path", "") for directory in root.findall("CatalogLocations/*/Directory")]

    def entry(self, reference: Element, scope: Mapping[str, str]) -> Element:
        """Return the element that a CatalogReference names, with its parameters replaced.

        Raises:
            InputError: There is no such catalog, or no such entry in it.
        """
        where = str(self._path)
        catalog, name = word(reference, "catalogName", where), word(reference, "entryName", where)
        files = self._files or self._load()
        if catalog not in files:
            raise InputError(f"{place(reference, where)}: there is no catalog {catalog!r} in {self._shown()}")
        root, file = files[catalog]
        found = next((item for item in root if item.get("name") == name), None)
        if found is None:
            raise InputError(f"{place(reference, where)}: catalog {catalog!r} has no entry {name!r}")
        given = {
            str(item.get("parameterRef")).lstrip("$"): str(item.get("value"))
            for item in reference.findall("ParameterAssignments/ParameterAssignment")
        }
        return resolved(found, {**scope, **given}, str(file))

    def _load(self) -> dict[str, tuple[Element, Path]]:
        """Read the catalogs of all folders that are there."""
        for folder in self._folders:
            here = self._path.parent / folder
            files = sorted(here.glob("*.xosc")) if here.is_dir() else [here] if here.is_file() else []
            for file in files[:MAX_CATALOG_FILES]:
                for catalog in read_xml(file).findall("Catalog"):
                    self._files.setdefault(str(catalog.get("name")), (catalog, file))
        return self._files

    def _shown(self) -> str:
        return ", ".join(self._folders) or "its CatalogLocations, which are empty"


def entities(root: Element, catalogs: Catalogs, scope: Mapping[str, str], where: str) -> dict[str, Entity]:
    """Return the entities of a file by their names.

    Raises:
        InputError: There are two of a name, or one is of no known kind or has a wrong box.
    """
    found: dict[str, Entity] = {}
    for item in root.findall("Entities/ScenarioObject"):
        name = word(item, "name", where)
        if name in found:
            raise InputError(f"{place(item, where)}: there are two entities {name!r}")
        found[name] = _entity(item, name, catalogs, scope, where)
    if not found:
        raise InputError(f"{where}: has no entities")
    return found


def _entity(item: Element, name: str, catalogs: Catalogs, scope: Mapping[str, str], where: str) -> Entity:
    for kind in item:
        thing = catalogs.entry(kind, scope) if kind.tag == "CatalogReference" else kind
        if thing.tag in KINDS:
            attribute, categories, usual = KINDS[thing.tag]
            category = categories.get(str(thing.get(attribute)), usual)
            return Entity(name, category, *_box(thing, category, where))
    raise InputError(f"{place(item, where)}: {name!r} is no Vehicle, Pedestrian or MiscObject")


def _box(thing: Element, category: Category, where: str) -> tuple[Float64[Array, "3"], Float64[Array, "2"]]:
    dimensions, centre = thing.find("BoundingBox/Dimensions"), thing.find("BoundingBox/Center")
    size = usual_size(category)
    if dimensions is not None:
        size = np.array([number(dimensions, side, where) for side in ("length", "width", "height")])
        if not np.all(size > 0.0):
            raise InputError(f"{place(dimensions, where)}: length, width and height must be positive")
    if centre is None:
        return size, np.zeros(2)
    return size, np.array([number(centre, axis, where, 0.0) for axis in ("x", "y")])
