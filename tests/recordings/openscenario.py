"""Small OpenDRIVE and OpenSCENARIO files, written by hand."""

from pathlib import Path

LINE = '<geometry s="0" x="0" y="0" hdg="0" length="{length}"><line/></geometry>'


def lane(name: int, kind: str = "driving", width: str = 'a="3.5" b="0" c="0" d="0"', inside: str = "") -> str:
    return f'<lane id="{name}" type="{kind}"><link/><width sOffset="0" {width}/>{inside}</lane>'


def section(left: str = "", right: str = "", s: float = 0.0) -> str:
    centre = '<center><lane id="0" type="none"><roadMark sOffset="0" type="broken" color="white"/></lane></center>'
    sides = (f"<left>{left}</left>" if left else "") + centre + (f"<right>{right}</right>" if right else "")
    return f'<laneSection s="{s}">{sides}</laneSection>'


def road(
    name: str = "1",
    length: float = 100.0,
    *,
    geometry: str | None = None,
    sections: str | None = None,
    link: str = "",
    lanes: str = "",
    inside: str = "",
    attributes: str = 'junction="-1"',
) -> str:
    view = geometry or LINE.format(length=length)
    whole = sections or section(lane(1), lane(-2) + lane(-1))
    return (
        f'<road name="" length="{length}" id="{name}" {attributes}><link>{link}</link><planView>{view}</planView>'
        f"{inside}<lanes>{lanes}{whole}</lanes></road>"
    )


def write_roads(path: Path, *roads: str, junctions: str = "") -> Path:
    path.write_text(
        f'<?xml version="1.0"?>\n<OpenDRIVE><header revMajor="1" revMinor="7"/>{"".join(roads)}{junctions}</OpenDRIVE>'
    )
    return path


def teleport(entity: str, position: str) -> str:
    return (
        f'<Private entityRef="{entity}"><PrivateAction><TeleportAction><Position>{position}</Position>'
        "</TeleportAction></PrivateAction></Private>"
    )


def speed_action(value: float | str, shape: str = "step", by: str = "time", extent: float = 0.0) -> str:
    return (
        f'<LongitudinalAction><SpeedAction><SpeedActionDynamics dynamicsShape="{shape}" dynamicsDimension="{by}" '
        f'value="{extent}"/><SpeedActionTarget><AbsoluteTargetSpeed value="{value}"/></SpeedActionTarget></SpeedAction>'
        "</LongitudinalAction>"
    )


def lane_change(lane_id: int, shape: str, by: str, extent: float) -> str:
    return (
        f'<LateralAction><LaneChangeAction><LaneChangeActionDynamics dynamicsShape="{shape}" dynamicsDimension="{by}" '
        f'value="{extent}"/><LaneChangeTarget><AbsoluteTargetLane value="{lane_id}"/></LaneChangeTarget>'
        "</LaneChangeAction></LateralAction>"
    )


def at_time(value: float, delay: float = 0.0, edge: str = "rising") -> str:
    return (
        f'<Condition name="t" delay="{delay}" conditionEdge="{edge}"><ByValueCondition><SimulationTimeCondition '
        f'value="{value}" rule="greaterThan"/></ByValueCondition></Condition>'
    )


def by_entity(entity: str, condition: str, edge: str = "rising") -> str:
    return (
        f'<Condition name="e" delay="0" conditionEdge="{edge}"><ByEntityCondition><TriggeringEntities '
        f'triggeringEntitiesRule="any"><EntityRef entityRef="{entity}"/></TriggeringEntities><EntityCondition>'
        f"{condition}</EntityCondition></ByEntityCondition></Condition>"
    )


def event(name: str, condition: str, *actions: str, priority: str = "overwrite") -> str:
    made = "".join(
        f'<Action name="{name}-{k}"><PrivateAction>{action}</PrivateAction></Action>'
        for k, action in enumerate(actions)
    )
    return (
        f'<Event name="{name}" priority="{priority}">{made}<StartTrigger><ConditionGroup>{condition}</ConditionGroup>'
        "</StartTrigger></Event>"
    )


def write_scenario(
    path: Path,
    init: str,
    events: str,
    *,
    roads: str = "roads.xodr",
    actor: str = "Other",
    parameters: str = "",
    end: float = 10.0,
    catalogs: str = "",
    entity: str | None = None,
) -> Path:
    vehicle = entity or (
        '<Vehicle name="car" vehicleCategory="car"><BoundingBox><Center x="0" y="0" z="0.7"/>'
        '<Dimensions width="2" length="4.5" height="1.5"/></BoundingBox></Vehicle>'
    )
    path.write_text(
        f"""<?xml version="1.0"?>
<OpenSCENARIO>
 <FileHeader revMajor="1" revMinor="2" date="2026-01-01T00:00:00" description="test" author="tests"/>
 <ParameterDeclarations>{parameters}</ParameterDeclarations>
 <CatalogLocations>{catalogs}</CatalogLocations>
 <RoadNetwork><LogicFile filepath="{roads}"/></RoadNetwork>
 <Entities>
  <ScenarioObject name="Ego">{vehicle}</ScenarioObject>
  <ScenarioObject name="Other">{vehicle}</ScenarioObject>
 </Entities>
 <Storyboard>
  <Init><Actions>{init}</Actions></Init>
  <Story name="story"><Act name="act"><ManeuverGroup name="group" maximumExecutionCount="1">
   <Actors selectTriggeringEntities="false"><EntityRef entityRef="{actor}"/></Actors>
   <Maneuver name="manoeuvre">{events}</Maneuver>
  </ManeuverGroup>
  <StartTrigger><ConditionGroup>{at_time(0.0, edge="none")}</ConditionGroup></StartTrigger></Act></Story>
  <StopTrigger><ConditionGroup>{at_time(end)}</ConditionGroup></StopTrigger>
 </Storyboard>
</OpenSCENARIO>
"""
    )
    return path


def write_openscenario(folder: Path) -> Path:
    """Write a folder of a scenario and its roads: one car drives ahead of another and changes the lane."""
    folder = folder / "openscenario"
    folder.mkdir()
    lanes = section(lane(1), lane(-2) + lane(-1))
    write_roads(folder / "roads.xodr", road(length=300.0, sections=lanes))
    places = "".join(
        teleport(name, f'<LanePosition roadId="1" laneId="-1" s="{s}" offset="0"/>')
        + f'<Private entityRef="{name}"><PrivateAction>{speed_action(8.0)}</PrivateAction></Private>'
        for name, s in (("Ego", 10.0), ("Other", 50.0))
    )
    change = event("move", at_time(0.5), lane_change(-2, "sinusoidal", "time", 1.0))
    write_scenario(folder / "small.xosc", places, change, end=2.0)
    return folder


def write_opendrive(folder: Path) -> Path:
    """Write a road with two lanes to the right and one to the left."""
    return write_roads(folder / "roads.xodr", road(length=300.0))
