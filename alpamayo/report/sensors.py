"""What a driver sees and a report shows in a replay: the drawn world, the log's own cameras, or both."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alpamayo_datasets.recorded_cameras import RecordedCameras


class SensorSource(StrEnum):
    """Where images of a replay come from; with ``BOTH`` the driver sees recorded ones, and the report shows both."""

    RENDERED = "rendered"
    RECORDED = "recorded"
    BOTH = "both"


@dataclass(frozen=True, eq=False)
class Sensors:
    """The source of images, and the log's cameras where they are recorded."""

    source: SensorSource = SensorSource.RENDERED
    recorded: RecordedCameras | None = None

    def inputs(self) -> dict[str, Any]:
        """Return the part of a run's inputs that is the sensors'; none for the drawn world."""
        return {} if self.recorded is None else {"sensors": str(self.source)}


RENDERED = Sensors()
