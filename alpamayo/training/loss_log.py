"""The losses of a training: JSON lines, and TensorBoard's events where its package is installed."""

import importlib.util
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class LossLog:
    """Adds to ``FOLDER/NAME.jsonl``, and to ``FOLDER/tensorboard/NAME`` if the extra ``tensorboard`` is installed.

    A training that resumes adds to the same files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._lines = folder / f"{name}.jsonl"
        self._events: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(folder / "tensorboard" / name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._events is not None:
            self._events.close()

    def add(self, row: dict[str, float]) -> None:
        """Add the numbers of one step; ``row["step"]`` says which."""
        with self._lines.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._events is not None:
            for name, value in row.items():
                if name != "step":
                    self._events.add_scalar(name, value, int(row["step"]))
