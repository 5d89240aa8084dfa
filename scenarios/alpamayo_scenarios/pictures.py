"""Pictures and films of scenarios: bird's eye and front camera, about the event; a contact sheet of families."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from alpamayo_scenarios.families import Family
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.rig import Rig, pinhole
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import replacing
from alpamayo_sim.io.video_file import VideoWriter
from alpamayo_sim.sensors import BirdsEye, CameraRenderer

Array = np.ndarray
Image = UInt8[Array, "height width 3"]

SEED = 10_000
BEFORE_CONTACT_STEPS = 14
FILM_BEFORE_STEPS, FILM_AFTER_STEPS = 50, 3  # about the contact, in a film
BIRDS_EYE_SIZE = (300, 300)  # width and height in pixels
CAMERA_SIZE = (480, 270)
CAPTION_HEIGHT = 26
FIELD_OF_VIEW_RAD = np.deg2rad(80.0)
DAY_SUN_ELEVATION_RAD = 0.7
METRES = 60.0  # that the height of a bird's-eye picture covers
MIDWAY = 0.4  # share of the way to the goal at which to look where a steady ego touches nothing
INK, PAPER = (40, 44, 52), (255, 255, 255)


def contact_sheet(
    families: Sequence[Family], columns: int, progress: Callable[[int], None] = lambda done: None
) -> Image:
    """Return the pictures of families at their defaults as a grid; ``progress`` is called with the number drawn."""
    pictures = []
    for family in families:
        pictures.append(picture(family.build(family.defaults(), SEED), caption(family)))
        progress(len(pictures))
    return tiled(pictures, columns)


def caption(family: Family) -> str:
    """Return the caption of a family."""
    return f"{family.name}  ({family.group}{', held out' if family.held_out else ''})"


def write_picture(image: Image, path: Path) -> None:
    """Write a picture; the ending of the name says the format.

    Raises:
        InputError: The file cannot be written, or no format has that ending.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if not known:
            raise InputError(f"cannot write {path}: the picture cannot be encoded")
        with replacing(path) as partial:
            partial.write_bytes(data.tobytes())
    except cv2.error as error:
        raise InputError(f"cannot write {path}: the name must end in .png or .jpg") from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def picture(scenario: Scenario, title: str) -> Image:
    """Return a bird's-eye and a front camera picture of a scenario side by side, with a title.

    They show the scenario by day, shortly before an ego that does not react would touch something.
    """
    scenario = in_daylight(scenario)
    batch = WorldBatch([scenario])
    for _ in range(max(event_step(scenario) - BEFORE_CONTACT_STEPS, 0)):
        batch.step(np.zeros((1, 2), np.float32))
    return Painter(scenario, title).draw(batch[0].ground_truth())


def write_film(scenario: Scenario, title: str, path: Path) -> int:
    """Write a film of some seconds before the event to shortly after it, as an mp4; return the number of frames.

    It shows the scenario by day, with an ego that does not react.

    Raises:
        InputError: The file cannot be written.
    """
    scenario = in_daylight(scenario)
    event = event_step(scenario)
    first, last = max(event - FILM_BEFORE_STEPS, 0), min(event + FILM_AFTER_STEPS, scenario.steps)
    batch, painter = WorldBatch([scenario]), Painter(scenario, title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, VideoWriter(partial, rate=1.0 / scenario.scene.dt) as film:
            for step in range(last + 1):
                if step >= first:
                    film.write(painter.draw(batch[0].ground_truth()))
                batch.step(np.zeros((1, 2), np.float32))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return last + 1 - first


class Painter:
    """Draws a scenario from above and through a front camera, side by side below a title."""

    def __init__(self, scenario: Scenario, title: str) -> None:
        front = pinhole("front", (0.8, 0.0, 1.45), 0.0, FIELD_OF_VIEW_RAD, *CAMERA_SIZE)
        self._above = BirdsEye(scenario.scene)
        self._camera = CameraRenderer(scenario.scene, Rig((front,)), seed=SEED)
        shape = (BIRDS_EYE_SIZE[1] + CAPTION_HEIGHT, BIRDS_EYE_SIZE[0] + CAMERA_SIZE[0] + 8, 3)
        self._paper = np.full(shape, PAPER, np.uint8)
        cv2.putText(self._paper, title, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)

    def draw(self, truth: GroundTruth) -> Image:
        """Return both pictures of one time."""
        row = self._paper.copy()
        above = self._above.draw(truth, width=BIRDS_EYE_SIZE[0], height=BIRDS_EYE_SIZE[1], metres=METRES)
        row[CAPTION_HEIGHT:, : BIRDS_EYE_SIZE[0]] = above
        seen = self._camera.draw(truth).rgb[0]
        row[CAPTION_HEIGHT : CAPTION_HEIGHT + CAMERA_SIZE[1], BIRDS_EYE_SIZE[0] + 4 : -4] = seen
        return row


def in_daylight(scenario: Scenario) -> Scenario:
    """Return the scenario by day, so that its pictures can be read."""
    environment = dataclasses.replace(scenario.scene.environment, sun_elevation=DAY_SUN_ELEVATION_RAD)
    return dataclasses.replace(scenario, scene=dataclasses.replace(scenario.scene, environment=environment))


def event_step(scenario: Scenario) -> int:
    """Return the step at which a steady ego touches something; where it does not, one well before its goal."""
    batch = WorldBatch([scenario])
    midway = 0
    for step in range(scenario.steps):
        batch.step(np.zeros((1, 2), np.float32))
        if batch.egos.collided[0, 0]:
            return step
        if not midway and batch.egos.progress[0, 0] > MIDWAY * scenario.goal.distance:
            midway = step
        if batch.egos.arrived[0, 0]:
            break
    return midway + BEFORE_CONTACT_STEPS


def tiled(pictures: list[Image], columns: int) -> Image:
    """Return pictures of one size as a grid."""
    blank = np.full_like(pictures[0], PAPER)
    filled = pictures + [blank] * (-len(pictures) % columns)
    return np.concatenate(
        [np.concatenate(filled[k : k + columns], axis=1) for k in range(0, len(filled), columns)], axis=0
    )
