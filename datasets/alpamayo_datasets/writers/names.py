"""Names of files for recordings."""

import re

from alpamayo_sim.errors import InputError

UNSAFE = re.compile(r"[^A-Za-z0-9._=+-]+")


def file_name(scene_id: str, taken: set[str]) -> str:
    """Return a scene's id as the name of a file in one folder, and note it as taken.

    Raises:
        InputError: An earlier scene has that name.
    """
    name = UNSAFE.sub("_", scene_id).strip(".") or "scene"
    if name in taken:
        raise InputError(f"two scenes would be written as {name!r}; convert them one by one")
    taken.add(name)
    return name
