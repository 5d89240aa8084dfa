"""Frames of an episode, rendered again from its record: cameras and a bird's-eye view."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw

from alpamayo.episode import Episode
from alpamayo.report.sensors import RENDERED, Sensors, SensorSource
from alpamayo.report.text import words
from alpamayo.report.typeface import typeface
from alpamayo_sim.datatypes.rig import Camera, Rig, default_rig
from alpamayo_sim.sensors import CameraRenderer
from alpamayo_sim.sensors.birdseye import BirdsEye

Array = np.ndarray
BIRDSEYE_SIDE_PX = 640
PLAN_POINTS = 200
PLAN_WIDTH_PX = 2
PLAN_COLOUR = (40, 220, 120)
LABELS = ("cross left", "front wide", "cross right", "front tele")  # in the order of default_rig()
DEFAULT_NAMES = tuple(camera.name for camera in default_rig().cameras)


@dataclass(frozen=True, eq=False)
class Frame:
    """RGB pictures of one step. ``mosaic`` shows wide and tele above cross left and cross right."""

    step: int
    birdseye: UInt8[Array, "h w 3"]
    mosaic: UInt8[Array, "rows columns 3"]


def frames(episode: Episode, sensors: Sensors = RENDERED) -> Iterator[Frame]:
    """Yield the frames of all states of an episode, in order."""
    scene = episode.scenario.scene
    rig = default_rig() if sensors.rig is None or sensors.recorded is not None else sensors.rig
    renderer, above = CameraRenderer(scene, rig, seed=episode.seed), BirdsEye(scene)
    for step in range(episode.steps + 1):
        truth = episode.truth(step)
        decided = min(step, episode.steps - 1)
        if sensors.recorded is None:
            mosaic = drawn_mosaic(episode, renderer, step)
        else:
            drawn = renderer.draw(truth).rgb
            real, _ = sensors.recorded.images(rig, step * episode.dt)
            plan = None if step == episode.steps else episode.executed[decided]
            mosaic = _recorded_mosaic(rig, real, drawn, plan, both=sensors.source == SensorSource.BOTH)
        plans = np.concatenate([episode.plans[decided], episode.executed[decided][None]])
        shown = {} if step == episode.steps else {"plans": plans, "chosen": len(plans) - 1}
        picture = above.draw(truth, width=BIRDSEYE_SIDE_PX, height=BIRDSEYE_SIDE_PX, **shown)
        yield Frame(step, picture, mosaic)


def drawn_mosaic(episode: Episode, renderer: CameraRenderer, step: int) -> UInt8[Array, "rows columns 3"]:
    """Draw the cameras of a renderer's rig at a step, with the driven plan in them."""
    plan = None if step == episode.steps else episode.executed[step]
    pairs = zip(renderer.draw(episode.truth(step)).rgb, renderer.rig.cameras, strict=True)
    images = np.stack([with_plan(image, camera, plan) for image, camera in pairs])
    names = tuple(camera.name for camera in renderer.rig.cameras)
    return _mosaic(images, LABELS) if names == DEFAULT_NAMES else _grid(images, names)


def _grid(images: UInt8[Array, "n h w 3"], names: Sequence[str]) -> UInt8[Array, "rows columns 3"]:
    """Return the pictures of any rig in two columns, or a single one alone."""
    pictures = [
        _labelled(image, words(name.removeprefix("camera_"))) for image, name in zip(images, names, strict=True)
    ]
    if len(pictures) == 1:
        return pictures[0]
    pictures += [np.full_like(pictures[0], 255)] * (len(pictures) % 2)
    return np.concatenate([np.concatenate(pictures[k : k + 2], axis=1) for k in range(0, len(pictures), 2)])


def _mosaic(images: UInt8[Array, "4 h w 3"], labels: Sequence[str]) -> UInt8[Array, "rows columns 3"]:
    """Return four pictures in the order of ``default_rig``: wide and tele above cross left and cross right."""
    left, wide, right, tele = (_labelled(image, name) for image, name in zip(images, labels, strict=True))
    return np.concatenate([np.concatenate([wide, tele], axis=1), np.concatenate([left, right], axis=1)])


def _recorded_mosaic(
    rig: Rig,
    real: UInt8[Array, "4 h w 3"],
    drawn: UInt8[Array, "4 h w 3"],
    plan: Float32[Array, "64 4"] | None,
    both: bool,
) -> UInt8[Array, "rows columns 3"]:
    """Return the recorded pictures with the plan in them; with ``both`` wide and tele beside the drawn ones."""
    cameras = rig.cameras
    real, drawn = (
        np.stack([with_plan(image, camera, plan) for image, camera in zip(images, cameras, strict=True)])
        for images in (real, drawn)
    )
    if not both:
        return _mosaic(real, [f"{name}, recorded" for name in LABELS])
    chosen = np.stack([real[3], real[1], drawn[3], drawn[1]])
    return _mosaic(chosen, ("front tele, recorded", "front wide, recorded", "front tele, drawn", "front wide, drawn"))


def with_plan(
    image: UInt8[Array, "h w 3"], camera: Camera, plan: Float32[Array, "64 4"] | None
) -> UInt8[Array, "h w 3"]:
    """Return a picture with a plan (x, y, heading, speed in the ego frame) drawn onto the ground that it shows."""
    if plan is None:
        return image
    dense = np.linspace(0.0, len(plan) - 1.0, PLAN_POINTS)
    xy = np.stack([np.interp(dense, np.arange(len(plan)), plan[:, k].astype(np.float64)) for k in (0, 1)], axis=1)
    pixels, seen = camera.project(np.pad(xy, ((0, 0), (0, 1))))
    out = np.ascontiguousarray(image)
    for k in np.flatnonzero(seen[:-1] & seen[1:]):
        ends = [tuple(int(value) for value in pixels[j]) for j in (k, k + 1)]
        cv2.line(out, ends[0], ends[1], PLAN_COLOUR, PLAN_WIDTH_PX, cv2.LINE_AA)
    return out


def _labelled(image: UInt8[Array, "h w 3"], label: str) -> UInt8[Array, "h w 3"]:
    """Return a copy with the camera's name in its corner and a thin border."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    pen.text((5, 3), label, fill=(255, 255, 255), font=typeface(10), stroke_width=1, stroke_fill=(0, 0, 0))
    pen.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=(250, 250, 250))
    return np.asarray(picture)
