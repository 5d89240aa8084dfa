"""A Hugging Face dataset folder: tables in parquet, and a card whose front matter names them as configurations.

``datasets.load_dataset(FOLDER, "tracks")`` opens one; so does any reader of parquet. Tables: ``scenes``, ``tracks``
(one row for each road user and prop), ``map`` (one row for each line), ``signals``, ``decisions`` (the driver's
reasoning and plan) and ``frames`` (one row for each image). Places are in m around the scene's origin.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo_datasets.foxglove_map import map_elements
from alpamayo_datasets.recording import DrawnSensors, Recording, Sensors, others_of
from alpamayo_datasets.writers.encoding import jpeg_bytes
from alpamayo_sim.datatypes.scene import Category, Prop, Scene, SignalState, Track
from alpamayo_sim.errors import InputError

Row = dict[str, Any]

SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGEST_CATEGORY = "n>1M"
COLUMNS: dict[str, dict[str, str]] = {  # of each table: kinds of ``_arrow_type``
    "scenes": {
        **dict.fromkeys(("scene", "source", "licence", "ego"), "text"),
        **{"steps": "integer", "time_step_s": "number", "origin_m": "numbers", "route_m": "points"},
    },
    "tracks": {
        **dict.fromkeys(("scene", "track", "category"), "text"),
        **{"is_ego": "flag", "moves": "flag", "size_m": "numbers", "position_m": "points", "heading_rad": "numbers"},
        **{"velocity_mps": "points", "valid": "flags"},
    },
    "map": {**dict.fromkeys(("scene", "element", "id", "properties"), "text"), "part": "integer", "points_m": "points"},
    "signals": {"scene": "text", "signal": "text", "position_m": "numbers", "states": "texts", "lanes": "texts"},
    "decisions": {"scene": "text", "step": "integer", "reasoning": "text", "plan": "points"},
    "frames": {"scene": "text", "step": "integer", "time_s": "number", "camera": "text", "image": "image"},
}


def write(recordings: Iterable[Recording], folder: Path) -> None:
    """Write all recordings into one folder.

    Raises:
        InputError: Two recordings have one name.
    """
    import pyarrow.parquet as pq

    (folder / "data").mkdir()
    schemas = {name: _schema(name) for name in COLUMNS}
    writers = {name: pq.ParquetWriter(folder / "data" / f"{name}.parquet", schema) for name, schema in schemas.items()}
    scenes: dict[str, Row] = {}
    rows = 0
    try:
        for recording in recordings:
            scene = recording.scene
            if scene.id in scenes:
                raise InputError(f"two scenes would be written as {scene.id!r}; convert them one by one")
            scenes[scene.id] = _scene_row(scene)
            for name, found in _tables(recording):
                rows += _append(writers[name], schemas[name], found)
    finally:
        for writer in writers.values():
            writer.close()
    (folder / "README.md").write_text(card(list(scenes.values()), rows), encoding="utf-8")


def _tables(recording: Recording) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of each table; those of the frames for one step at a time."""
    scene = recording.scene
    yield "scenes", [_scene_row(scene)]
    yield "tracks", [_track_row(scene, thing) for thing in (scene.ego, *others_of(scene))]
    yield (
        "map",
        [
            {"scene": scene.id, "element": element.words["element"], "id": element.id, "part": part, "points_m": line}
            | {"properties": json.dumps(element.words)}
            for element in map_elements(scene.road_map)
            for part, line in enumerate(element.lines)
        ],
    )
    yield (
        "signals",
        [
            {"scene": scene.id, "signal": signal.id, "position_m": signal.position, "lanes": signal.lane_ids}
            | {"states": [SignalState(state).name.lower() for state in signal.states]}
            for signal in scene.signals
        ],
    )
    yield "decisions", _decisions(recording)
    sensors: Sensors = recording.sensors or DrawnSensors()
    for step, frame in enumerate(sensors.frames(scene)):
        at = {"scene": scene.id, "step": step, "time_s": step * scene.dt}
        yield (
            "frames",
            [
                {**at, "camera": camera.name, "image": {"bytes": jpeg_bytes(image), "path": None}}
                for camera, image in zip(sensors.rig.cameras, frame.rgb, strict=True)
            ],
        )


def _scene_row(scene: Scene) -> Row:
    about = {"scene": scene.id, "source": scene.provenance.source, "licence": scene.provenance.licence}
    times = {"ego": scene.ego_id, "steps": scene.steps, "time_step_s": scene.dt}
    return about | times | {"origin_m": scene.origin, "route_m": () if scene.route is None else scene.route.path}


def _track_row(scene: Scene, thing: Track | Prop) -> Row:
    row: Row = {"scene": scene.id, "track": thing.id, "category": Category(thing.category).name.lower()}
    row |= {"is_ego": thing.id == scene.ego_id, "moves": isinstance(thing, Track), "size_m": thing.size}
    if isinstance(thing, Track):
        motion = {"position_m": thing.position, "heading_rad": thing.heading, "velocity_mps": thing.velocity}
        return row | motion | {"valid": thing.valid}
    still = {"position_m": [thing.position], "heading_rad": [thing.heading], "velocity_mps": [(0.0, 0.0)]}
    return row | still | {"valid": [True]}


def _decisions(recording: Recording) -> list[Row]:
    words, plans = recording.words, recording.plans
    count = max(len(words), 0 if plans is None else len(plans))
    return [
        {
            "scene": recording.scene.id,
            "step": step,
            "reasoning": words[step] if step < len(words) else "",
            "plan": () if plans is None or step >= len(plans) else plans[step],
        }
        for step in range(count)
    ]


def _append(writer: Any, schema: Any, rows: list[Row]) -> int:
    """Write rows as one row group, and return how many there are."""
    import pyarrow as pa

    if rows:
        plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
        writer.write_table(pa.Table.from_pylist(plain, schema=schema))
    return len(rows)


def _plain(value: Any) -> Any:
    """Return an array, or a list of arrays, as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _schema(name: str) -> Any:
    """Return the schema of a table; its metadata tells ``datasets`` which columns are images."""
    import pyarrow as pa

    fields = [(column, _arrow_type(kind)) for column, kind in COLUMNS[name].items()]
    features = {column: _feature(kind) for column, kind in COLUMNS[name].items()}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    return {
        "text": text,
        "integer": pa.int64(),
        "number": number,
        "flag": pa.bool_(),
        "texts": pa.list_(text),
        "flags": pa.list_(pa.bool_()),
        "numbers": pa.list_(number),
        "points": pa.list_(pa.list_(pa.float32())),
        "image": pa.struct([("bytes", pa.binary()), ("path", text)]),
    }[kind]


def _feature(kind: str) -> Any:
    """Return a column's feature in the form of ``datasets.Features.to_dict``."""
    value = {
        name: {"dtype": dtype, "_type": "Value"}
        for name, dtype in (("text", "string"), ("integer", "int64"), ("number", "float64"), ("flag", "bool"))
    }
    if kind == "image":
        return {"_type": "Image"}
    if kind == "points":
        return {"feature": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}, "_type": "List"}
    return value[kind] if kind in value else {"feature": value[kind.removesuffix("s")], "_type": "List"}


def card(scenes: list[Row], rows: int) -> str:
    """Return the card: the front matter that the hub reads, and what the tables hold."""
    size = next((name for limit, name in SIZE_CATEGORIES if rows < limit), LARGEST_CATEGORY)
    lines = ["---", "license: other", "license_name: as-the-column-licence-of-scenes-says"]
    lines += ["task_categories:", "- robotics", "tags:", "- autonomous-driving", "size_categories:", f"- {size}"]
    lines.append("configs:")
    for name in COLUMNS:
        lines += [f"- config_name: {name}", f"  data_files: data/{name}.parquet"]
        lines += ["  default: true"] if name == "tracks" else []
    lines += ["---", "", "# Driving scenes", "", f"{len(scenes)} scenes, written by alpamayo.", ""]
    lines += ["```python", "import datasets", "", 'tracks = datasets.load_dataset("FOLDER", "tracks", split="train")']
    lines += ["```", "", "| table | columns |", "|---|---|"]
    lines += [f"| `{name}` | {', '.join(f'`{column}`' for column in columns)} |" for name, columns in COLUMNS.items()]
    lines += ["", "Axes: x east, y north, z up; headings are counter-clockwise from x. Places are around `origin_m`."]
    lines += [
        "A plan has 64 rows of x, y, heading and speed in the ego's frame, from 0.1 s to 6.4 s. Images are drawn,"
    ]
    lines += ["unless the recording's own cameras were written.", "", "| scenes | source | licence |", "|---|---|---|"]
    return "\n".join([*lines, *_sources(scenes)]) + "\n"


def _sources(scenes: list[Row]) -> list[str]:
    counted: dict[tuple[str, str], int] = {}
    for row in scenes:
        key = row["source"], row["licence"]
        counted[key] = counted.get(key, 0) + 1
    return [f"| {count} | {_cell(source)} | {_cell(licence)} |" for (source, licence), count in counted.items()]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
