"""Opens a recorded log, whatever its format; the content decides, not the name."""

from pathlib import Path

from alpamayo_datasets.scenarionet import read_scenarionet
from alpamayo_datasets.womd_json import load_json, scene_of
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.scene_file import load_scene

FORMATS = "a ScenarioNet pickle, a Waymo-motion JSON file, or a scene saved by this project"


def open_log(path: Path | str) -> Scene:
    """The Scene of a recorded log.

    Raises:
        InputError: the file is missing, damaged, hostile, too large, or of no known format.
    """
    path = Path(path)
    if not path.exists() and path.with_name(path.name + ".json").exists():
        return load_scene(path)
    head = _head(path)
    if head[:1] == b"\x80":
        return read_scenarionet(path)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        raise InputError(f"{path}: of no known format; it should be {FORMATS}")
    record = load_json(path)
    if isinstance(record, dict) and record.get("kind") == "Scene" and path.suffix == ".json":
        return load_scene(path.with_suffix(""))
    return scene_of(record, path)


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, must be {FORMATS}")
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
