"""What a driver sees and a report shows: the drawn world, in a replay also the log's own cameras, or both."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alpamayo_datasets.recorded_cameras import RecordedCameras
from alpamayo_sim.datatypes.rig import Rig


class SensorSource(StrEnum):
    """Where images of a replay come from; with ``BOTH`` the driver sees recorded ones, and the report shows both."""

    RENDERED = "rendered"
    RECORDED = "recorded"
    BOTH = "both"


@dataclass(frozen=True, eq=False)
class Sensors:
    """The source of images, the log's cameras where they are recorded, and the cameras that the driver has.

    ``rig`` is None for a driver without cameras; a report then shows the default rig.
    """

    source: SensorSource = SensorSource.RENDERED
    recorded: RecordedCameras | None = None
    rig: Rig | None = None

    @property
    def note(self) -> str:
        """Say in a few words what the images of a report are."""
        if self.recorded is not None:
            return "recorded images, which show the recorded drive wherever the ego is"
        return "drawn for the reader: the driver has no cameras" if self.rig is None else "as the driver saw them"

    def inputs(self) -> dict[str, Any]:
        """Return the part of a run's inputs that is the sensors'; none for the drawn world."""
        return {} if self.recorded is None else {"sensors": str(self.source)}


RENDERED = Sensors()
