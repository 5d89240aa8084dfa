"""Plays a scenario file: the positions of all entities at each step, and what of the file is not supported."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo_datasets.opendrive import Network, read_network
from alpamayo_datasets.openscenario import actions, conditions
from alpamayo_datasets.openscenario.entities import Catalogs, Entity, entities
from alpamayo_datasets.openscenario.expressions import declared, resolved
from alpamayo_datasets.openscenario.motion import Mover
from alpamayo_datasets.openscenario.positions import Positions
from alpamayo_datasets.openscenario.storyboard import read_storyboard
from alpamayo_datasets.openscenario.weather import environment_of
from alpamayo_datasets.xml_elements import place, word
from alpamayo_datasets.xml_files import line_of, read_xml
from alpamayo_sim.datatypes.scene import Environment
from alpamayo_sim.errors import InputError

Array = np.ndarray

STEP_S = 0.1
SUBSTEPS = 10
REST_S = 5.0  # that is played after the storyboard has ended
MAX_DURATION_S = 60.0
MAX_ENTITIES = 500
GLOBAL = (
    "TrafficSignalStateAction",
    "EnvironmentAction",
    "AddEntityAction",
    "DeleteEntityAction",
)  # of these, the weather holds from the start
WRAPPERS = (
    "Condition",
    "ByEntity",
    "EntityCond",
    "ByValue",
    "PrivateAction",
    "GlobalAction",
    "LongitudinalAction",
    "LateralAction",
    "RoutingAction",
)  # around the action or condition itself


@dataclass(frozen=True, eq=False)
class Played:
    """A scenario as it was played.

    Attributes:
        name: its name.
        author: its author and description.
        network: its roads.
        entities: its road users and things.
        pose: x, y, z (m) and heading (rad) of the middle of each box at each step.
        speed: the speed (m/s) of each entity at each step.
        valid: whether each entity is there.
        signals: the states of signals by name, each with the time (s) from which it holds.
        environment: weather, light and friction.
        unsupported: what was left out: names and lines.
    """

    name: str
    author: str
    network: Network
    entities: Mapping[str, Entity]
    pose: Float64[Array, "steps n 4"]
    speed: Float64[Array, "steps n"]
    valid: Bool[Array, "steps n"]
    signals: Mapping[str, list[tuple[float, str]]]
    environment: Environment
    unsupported: tuple[str, ...]


def play(path: Path) -> Played:
    """Play the storyboard of an OpenSCENARIO XML 1.x file with its own ego, from its start to its end.

    Raises:
        InputError: The file, its roads or a catalog that it needs cannot be read, or it contradicts itself.
    """
    raw, where = read_xml(path), str(path)
    if raw.tag != "OpenSCENARIO" or raw.find("Storyboard") is None:
        raise InputError(f"{where}: is no OpenSCENARIO XML with a Storyboard")
    scope = declared(raw, {}, where)
    root = resolved(raw, {}, where)
    catalogs = Catalogs(root, path)
    network = _network(root, path)
    things = entities(root, catalogs, scope, where)
    if len(things) > MAX_ENTITIES:
        raise InputError(f"{where}: has {len(things)} entities, more than {MAX_ENTITIES}")
    movers = {name: Mover(entity, network) for name, entity in things.items()}
    stage = actions.Stage(Positions(network, movers, where, catalogs, scope), {})
    _init(root, stage)
    pose, speed, valid = _run(root, stage)
    header = root.find("FileHeader")
    author = "" if header is None else f"{header.get('author', '')}: {header.get('description', '')}"
    left_out = (*network.unsupported, *_unsupported(root))
    return Played(
        path.stem, author, network, things, pose, speed, valid, stage.signals, environment_of(root, where), left_out
    )


def _network(root: Element, path: Path) -> Network:
    file = root.find("RoadNetwork/LogicFile")
    if file is None:
        raise InputError(f"{path}: has no LogicFile in its RoadNetwork; roads of OpenDRIVE are needed")
    road_file = path.parent / word(file, "filepath", str(path))
    if not road_file.is_file():
        raise InputError(f"{place(file, str(path))}: there is no road file {road_file}")
    return read_network(road_file)


def _init(root: Element, stage: actions.Stage) -> None:
    """Do the actions before the start: places first, so that all else can refer to them."""
    found = root.findall("Storyboard/Init/Actions/Private")
    pending = [(private, action) for private in found for action in private.findall("PrivateAction")]
    pending.sort(key=lambda item: item[1].find("TeleportAction") is None)
    for private, action in pending:
        actions.start_private(stage, stage.positions.other(private), action, 0.0)
    for action in root.findall("Storyboard/Init/Actions/GlobalAction"):
        actions.start_global(stage, action, 0.0)


def _run(
    root: Element, stage: actions.Stage
) -> tuple[Float64[Array, "steps n 4"], Float64[Array, "steps n"], Bool[Array, "steps n"]]:
    """Return poses, speeds and presence of all entities at each step."""
    dt = STEP_S / SUBSTEPS
    board, movers = read_storyboard(root, stage, dt), list(stage.positions.movers.values())
    poses, speeds, valid, last = [], [], [], MAX_DURATION_S
    for step in range(round(MAX_DURATION_S / STEP_S) + 1):
        poses.append([mover.centre() for mover in movers])
        speeds.append([mover.speed for mover in movers])
        valid.append([mover.placed for mover in movers])
        for part in range(SUBSTEPS):
            time = step * STEP_S + part * dt
            if not board.advance(time):
                last = min(last, time)
            elif board.is_complete:
                last = min(last, time + REST_S)
            for mover in movers:
                if mover.placed:
                    mover.move(time, dt)
        if (step + 1) * STEP_S > last + 0.5 * dt:
            break
    return np.array(poses), np.array(speeds, float), np.array(valid)


def _unsupported(root: Element) -> tuple[str, ...]:
    """Return the actions and conditions that are left out, with their lines."""
    found = []
    for action in [*root.iter("PrivateAction"), *root.iter("UserDefinedAction"), *root.iter("GlobalAction")]:
        known = actions.is_supported(action) or any(action.find(f".//{tag}") is not None for tag in GLOBAL)
        if not known and len(action):
            found.append(_named(action))
    found += [_named(item) for item in root.iter("Condition") if not conditions.is_supported(item)]
    return tuple(found)


def _named(element: Element) -> str:
    """Return the innermost name of an action or condition, and its line."""
    ending = "Condition" if element.tag == "Condition" else "Action"
    names = [item for item in element.iter() if item.tag.endswith(ending) and not item.tag.startswith(WRAPPERS)]
    inner = names[0] if names else element
    return f"{inner.tag}: line {line_of(inner)}"
