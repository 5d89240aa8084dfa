"""A small CommonRoad scenario."""

from pathlib import Path

import numpy as np


def commonroad(version: str = "2020a", problems: tuple[str, ...] = ("9",), goal: str = "") -> str:
    """Return a scenario: two lanes of one way, a stop sign, a light, a car, a parked car; time steps of 0.2 s."""

    def spot(x: float, y: float) -> str:
        return f"<point><x>{x:.6f}</x><y>{y:.6f}</y></point>"

    def bound(tag: str, y: float, x0: float, x1: float, paint: str) -> str:
        places = "".join(spot(x, y) for x in np.linspace(x0, x1, 6))
        return f"<{tag}>{places}<lineMarking>{paint}</lineMarking></{tag}>"

    def lanelet(name: int, x0: float, x1: float, y: float, more: str) -> str:
        sides = bound("leftBound", y + 1.75, x0, x1, "dashed") + bound("rightBound", y - 1.75, x0, x1, "solid")
        return f'<lanelet id="{name}">{sides}{more}</lanelet>'

    def state(tag: str, step: int, x: float, y: float, speed: float) -> str:
        return (
            f"<{tag}><position>{spot(x, y)}</position><orientation><exact>0.0</exact></orientation>"
            f"<time><exact>{step}</exact></time><velocity><exact>{speed}</exact></velocity></{tag}>"
        )

    shape = "<shape><rectangle><length>4.6</length><width>1.8</width></rectangle></shape>"
    moving = "".join(state("state", k, 20.0 + 1.2 * k, 0.0, 6.0) for k in range(1, 11))
    old = version == "2018b"
    limit = "<speedLimit>13.89</speedLimit>" if old else '<trafficSignRef ref="50"/>'
    stop = '<stopLine><lineMarking>solid</lineMarking></stopLine><trafficSignRef ref="51"/><trafficLightRef ref="52"/>'
    parts = [
        lanelet(1, 0.0, 50.0, 0.0, f'<successor ref="2"/><adjacentLeft ref="3" drivingDir="same"/>{limit}'),
        lanelet(2, 50.0, 120.0, 0.0, '<predecessor ref="1"/>' + ("" if old else stop) + '<successor ref="4"/>'),
        lanelet(3, 0.0, 50.0, 3.5, '<adjacentRight ref="1" drivingDir="same"/>'),
        lanelet(4, 120.0, 160.0, 0.0, '<predecessor ref="2"/>'),
    ]
    if not old:
        parts += [
            _sign(50, "274", "<additionalValue>13.89</additionalValue>"),
            _sign(51, "206"),
            _light(spot(120.0, 4.0)),
        ]
    kinds = ("obstacle", "obstacle") if old else ("dynamicObstacle", "staticObstacle")
    roles = ("<role>dynamic</role>", "<role>static</role>") if old else ("", "")
    parts += [
        f'<{kinds[0]} id="60">{roles[0]}<type>car</type>{shape}{state("initialState", 0, 20.0, 0.0, 6.0)}'
        f"<trajectory>{moving}</trajectory></{kinds[0]}>",
        f'<{kinds[1]} id="61">{roles[1]}<type>parkedVehicle</type>{shape}{state("initialState", 0, 30.0, 3.5, 0.0)}'
        f"</{kinds[1]}>",
    ]
    end = "<time><intervalStart>10</intervalStart><intervalEnd>20</intervalEnd></time>"
    for name in problems:
        parts.append(
            f'<planningProblem id="{name}">{state("initialState", 0, 5.0, 0.25, 8.0)}'
            f"<goalState>{goal}{end}</goalState></planningProblem>"
        )
    head = f'<commonRoad timeStepSize="0.2" commonRoadVersion="{version}" benchmarkID="ZAM_Small-1" source="a test">'
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{head}{''.join(parts)}</commonRoad>"


def _sign(name: int, kind: str, more: str = "") -> str:
    element = f"<trafficSignElement><trafficSignID>{kind}</trafficSignID>{more}</trafficSignElement>"
    return f'<trafficSign id="{name}">{element}</trafficSign>'


def _light(place: str) -> str:
    colours = (("red", 3), ("redYellow", 1), ("green", 4), ("yellow", 2))
    cycle = "".join(f"<cycleElement><duration>{n}</duration><color>{c}</color></cycleElement>" for c, n in colours)
    cycle = f"<cycle>{cycle}<timeOffset>2</timeOffset></cycle>"
    return f'<trafficLight id="52">{cycle}<position>{place}</position></trafficLight>'


def write_commonroad(folder: Path) -> Path:
    """Write a scenario of version 2020a."""
    path = folder / "scenario.xml"
    path.write_text(commonroad())
    return path
