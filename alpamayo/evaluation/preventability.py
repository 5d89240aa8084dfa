"""Preventability: scenarios driven again by the reference drivers of UN R157, from the record alone.

A collision is preventable by a named reference driver if that driver completes the same scenario without any contact,
at fault or not.
"""

from pathlib import Path
from typing import Any

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import R157_DRIVERS, make_driver
from alpamayo.episode import has_collision, load_episode
from alpamayo_sim.errors import InputError


def avoided_by(folder: Path, names: tuple[str, ...] = R157_DRIVERS) -> dict[str, bool | None]:
    """Return whether each driver avoids all collisions in the scenario of a record; None if it cannot drive there.

    Raises:
        InputError: the record cannot be read.
    """
    scenario = load_episode(folder).scenario
    out: dict[str, bool | None] = {}
    for name in names:
        try:
            out[name] = not has_collision(drive(scenario, make_driver(name), seed=scenario.seed, guard=False))
        except InputError:  # a scene without a route, for one
            out[name] = None
    return out


def rows(runs: list[dict[str, Any]], found: dict[str, dict[str, bool | None]]) -> list[dict[str, Any]]:
    """Return one row per scenario with a collision: the drivers that collided, and the drivers that avoid it."""
    out = []
    for key, avoided in sorted(found.items()):
        there = [run for run in runs if run["hashes"]["scenario"] == key]
        collided = sorted({run["driver"] for run in there if run["collided"]})
        known = {name: value for name, value in avoided.items() if value is not None}
        first = there[0]
        out.append(
            {
                "scenario": first["scenario"],
                "family": first["family"],
                "hash": key,
                "collided": collided,
                "avoided_by": known,
                "cannot_drive": sorted(set(avoided) - set(known)),
            }
        )
    return sorted(out, key=lambda row: (row["scenario"], row["hash"]))
