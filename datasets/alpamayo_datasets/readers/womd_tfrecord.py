"""Waymo Open Motion tfrecords: Scenario protos or tf.Example protos, one record for each scene."""

from pathlib import Path

from alpamayo_datasets.containers import choose_scene
from alpamayo_datasets.readers import womd_example, womd_scenario
from alpamayo_datasets.tfrecord import is_tfrecord, records
from alpamayo_sim.datatypes.scene import Scene


def matches(path: Path, head: bytes) -> bool:
    """Return whether the file begins as a TFRecord file does."""
    return is_tfrecord(head)


def scene_ids(path: Path) -> list[str]:
    """Return the scenario ids of the records.

    Raises:
        InputError: The file is damaged, or a record holds no scenario.
    """
    return [_id(data, f"{path}: record {k}") for k, data in enumerate(records(path, check=False))]


def read(path: Path, scene_id: str | None = None) -> Scene:
    """Return the Scene of a record: the one of that scenario id, or the only one.

    Raises:
        InputError: The file is damaged, a record is no Waymo scenario, or there is no such scene.
    """
    ids = scene_ids(path)
    wanted = ids.index(choose_scene(ids, scene_id, str(path)))
    data = next(record for k, record in enumerate(records(path)) if k == wanted)
    where = f"{path}: record {wanted}"
    reader = womd_example if womd_example.is_example(data) else womd_scenario
    return reader.scene_of(data, where)


def _id(data: bytes, where: str) -> str:
    return womd_example.id_of(data, where) if womd_example.is_example(data) else womd_scenario.id_of(data, where)
