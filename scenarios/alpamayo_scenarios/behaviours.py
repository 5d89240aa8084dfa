"""Behaviours that several families share, as plain manoeuvres."""

from dataclasses import dataclass
from typing import ClassVar

from alpamayo_scenarios.stage import EGO_SIZE
from alpamayo_sim.datatypes.manoeuvres import Manoeuvres, after
from alpamayo_sim.datatypes.scenario import Manoeuvre, Trigger, TriggerKind

PASSING_RANGE_M = 60.0  # m
BRAKES_AFTER_SHARE = 0.7  # share of the move over after which the braking begins


def move_off(ego_slower_than: float, hold: float, speed: float, acceleration: float = 1.8) -> Manoeuvres:
    """Return: stand until the ego is slower than a speed (m/s), ``hold`` (s) more, then drive at ``speed`` (m/s)."""
    return (
        Manoeuvre(Trigger(TriggerKind.EGO_SLOWER, ego_slower_than)),
        Manoeuvre(after(hold), speed=speed, acceleration=acceleration),
    )


def pull_out(trigger: Trigger, offset: float, duration: float, speed: float, acceleration: float) -> Manoeuvres:
    """Return: start and move over to a lateral ``offset`` (m) in ``duration`` (s), up to ``speed`` (m/s)."""
    return (Manoeuvre(trigger, speed=speed, acceleration=acceleration, lateral_offset=offset, duration=duration),)


@dataclass(frozen=True)
class OvertakingCutIn:
    """Pass the ego with ``excess`` m/s, move over ``gap`` m before its bumper, and brake.

    ``across`` (m) is how far it moves over, at ``lateral_speed`` (m/s); then it brakes with ``deceleration`` (m/s²)
    to ``slow`` (m/s). It starts ``BEHIND`` m behind the ego's centre and is ``length`` m long.
    """

    ego_speed: float
    excess: float
    gap: float
    across: float
    lateral_speed: float
    slow: float
    deceleration: float
    length: float = 4.5

    BEHIND: ClassVar[float] = 12.0

    @property
    def bumpers(self) -> float:
        """Distance (m) between the centres when front and rear bumper are level."""
        return 0.5 * (EGO_SIZE[0] + self.length)

    @property
    def move_time(self) -> float:
        """Duration (s) of the move over."""
        return self.across / self.lateral_speed

    @property
    def braking_time(self) -> float:
        """Time (s) from the start to the braking, for a steady ego."""
        return (self.BEHIND + self.bumpers + self.gap) / self.excess + BRAKES_AFTER_SHARE * self.move_time

    @property
    def room(self) -> float:
        """Distance (m) that a steady ego gains on the car from the braking to the contact."""
        change = self.ego_speed - self.slow
        drawn = self.gap + self.excess * BRAKES_AFTER_SHARE * self.move_time
        return drawn + (change + self.excess) ** 2 / (2.0 * self.deceleration)

    @property
    def contact_distance(self) -> float:
        """Distance (m) of a steady ego from its start to the contact."""
        return self.ego_speed * (self.braking_time + self.room / (self.ego_speed - self.slow))

    def manoeuvres(self, offset: float) -> Manoeuvres:
        """Return the manoeuvres; ``offset`` (m, left positive) is the lateral offset after the move over."""
        alongside = Trigger(TriggerKind.EGO_GAP, PASSING_RANGE_M)
        return (
            Manoeuvre(alongside),
            Manoeuvre(
                after((2.0 * self.bumpers + self.gap) / self.excess), lateral_offset=offset, duration=self.move_time
            ),
            Manoeuvre(after(BRAKES_AFTER_SHARE * self.move_time), speed=self.slow, acceleration=self.deceleration),
        )


def at_time(seconds: float) -> Trigger:
    """Return the trigger of a simulated time (s)."""
    return Trigger(TriggerKind.TIME, seconds)


def at_arrival(seconds: float, point: tuple[float, float]) -> Trigger:
    """Return the trigger of the ego's time (s) to a point at its present speed."""
    return Trigger(TriggerKind.EGO_ARRIVAL, seconds, point)


def when_near(gap: float) -> Trigger:
    """Return the trigger of the ego's centre within ``gap`` (m) behind the actor's centre, or beside it."""
    return Trigger(TriggerKind.EGO_GAP, gap)
