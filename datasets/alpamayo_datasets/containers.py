"""Choice of a scene in a file or folder that holds many."""

from collections.abc import Sequence

from alpamayo_sim.errors import InputError

SHOWN_IDS = 8


def choose_scene(ids: Sequence[str], scene_id: str | None, where: str) -> str:
    """Return the scene that is wanted: the named one, or the only one.

    Raises:
        InputError: There is no scene, no scene of that name, or more than one and none is named.
    """
    if not ids:
        raise InputError(f"{where}: holds no scenes")
    if scene_id is not None and scene_id not in ids:
        raise InputError(f"{where}: has no scene {scene_id!r}; it holds {_listed(ids)}")
    if scene_id is None and len(ids) > 1:
        raise InputError(f"{where}: holds {len(ids)} scenes; choose one as {where}#ID: {_listed(ids)}")
    return ids[0] if scene_id is None else scene_id


def _listed(ids: Sequence[str]) -> str:
    more = f", ... ({len(ids)} in all)" if len(ids) > SHOWN_IDS else ""
    return ", ".join(ids[:SHOWN_IDS]) + more
