"""Frames of an episode, rendered again from its record: cameras and a bird's-eye view."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from alpamayo.episode import Episode
from alpamayo.report.typeface import typeface
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.sensors import CameraRenderer
from alpamayo_sim.sensors.birdseye import BirdsEye

Array = np.ndarray
BIRDSEYE_SIDE_PX = 640
LABELS = ("cross left", "front wide", "cross right", "front tele")  # in the order of default_rig()


@dataclass(frozen=True, eq=False)
class Frame:
    """RGB pictures of one step. ``mosaic`` shows wide and tele above cross left and cross right."""

    step: int
    birdseye: UInt8[Array, "h w 3"]
    mosaic: UInt8[Array, "rows columns 3"]


def frames(episode: Episode) -> Iterator[Frame]:
    """Yield the frames of all states of an episode, in order."""
    scene = episode.scenario.scene
    renderer, above = CameraRenderer(scene, default_rig(), seed=episode.seed), BirdsEye(scene)
    for step in range(episode.steps + 1):
        truth = episode.truth(step)
        images = renderer.draw(truth).rgb
        left, wide, right, tele = (_labelled(image, name) for image, name in zip(images, LABELS, strict=True))
        mosaic = np.concatenate([np.concatenate([wide, tele], axis=1), np.concatenate([left, right], axis=1)])
        decided = min(step, episode.steps - 1)
        plans = np.concatenate([episode.plans[decided], episode.executed[decided][None]])
        shown = {} if step == episode.steps else {"plans": plans, "chosen": len(plans) - 1}
        picture = above.draw(truth, width=BIRDSEYE_SIDE_PX, height=BIRDSEYE_SIDE_PX, **shown)
        yield Frame(step, picture, mosaic)


def _labelled(image: UInt8[Array, "h w 3"], label: str) -> UInt8[Array, "h w 3"]:
    """Return a copy with the camera's name in its corner and a thin border."""
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    pen.text((5, 3), label, fill=(255, 255, 255), font=typeface(10), stroke_width=1, stroke_fill=(0, 0, 0))
    pen.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=(250, 250, 250))
    return np.asarray(picture)
