"""Assembles one street: everything in it, and where everything is at a given time."""

from dataclasses import dataclass, field

import mujoco
import numpy as np

from training.data.street import people, scenery, vehicles
from training.data.street import road as roads
from training.data.street.builder import Builder
from training.data.street.labels import (
    BICYCLE,
    BUS,
    CAR,
    MOTORCYCLE,
    PERSON,
    RIDER,
    TRAIN,
    TRUCK,
)
from training.data.street.motion import (
    Ego,
    Mover,
    Path,
    companion,
    cruise,
    pace,
    random_ego,
    standing,
)
from training.data.street.road import Road
from training.data.street.textures import Rng

REACH_M = 85.0
"""Things are spread over this length ahead of the start."""


@dataclass
class Street:
    """What is being assembled."""

    builder: Builder
    road: Road
    rng: Rng
    ego: Ego
    rails_t: float | None = None
    movers: list[Mover] = field(default_factory=list)

    def vehicle(self, category: int, path: Path, yaw: float | None = None, z: float = 0.0) -> None:
        """Add a vehicle; two-wheelers without a rider."""
        name = self.builder.name("thing")
        shapes = {
            CAR: vehicles.car,
            TRUCK: vehicles.truck,
            BUS: vehicles.bus,
            TRAIN: vehicles.train,
            MOTORCYCLE: people.motorcycle,
            BICYCLE: people.bicycle,
        }
        shapes[category](self.builder.thing(category, name), self.rng)
        self.movers.append(Mover(name, path, yaw, z))

    def ridden(self, category: int, path: Path) -> None:
        """A bicycle or motorcycle and its rider, two objects of one pose."""
        self.vehicle(category, path)
        name = self.builder.name("thing")
        people.rider(self.builder.thing(RIDER, name), self.rng, category == MOTORCYCLE)
        self.movers.append(Mover(name, path))

    def walker(self, path: Path, speed: float, yaw: float | None = None, z: float = 0.13) -> None:
        """A person who walks, or stands when `speed` is 0."""
        name = self.builder.name("thing")
        people.person(self.builder.thing(PERSON, name), self.rng, name)
        self.movers.append(Mover(name, path, yaw, z, gait=speed * 0.62, phase=float(self.rng.random())))


def assemble(rng: Rng) -> Street:
    """Draw a street."""
    road = roads.random_road(rng)
    lane_t = -road.lane_m * (0.5 if road.lanes < 4 else 1.5)
    lane_t = lane_t if road.lanes != 3 else -road.lane_m
    street = Street(Builder(), road, rng, random_ego(rng, lane_t, road.lane_m))
    scenery.materials(street.builder, rng)
    roads.build(street.builder, road, rng)
    crossings = [float(v) for v in np.arange(rng.uniform(12, 30), 150, rng.uniform(35, 60))]
    for s in crossings:
        roads.crossing(street.builder, road, s)
    train_side = int(rng.integers(2)) if rng.random() < 0.5 else -1
    for side in range(2):
        scenery.frontage(street.builder, road, rng, side, 4.6 if side == train_side else 0.0)
    scenery.street_furniture(street.builder, road, rng, crossings)
    if train_side >= 0:
        _trains(street, train_side)
    _parked(street)
    _traffic(street)
    _two_wheelers(street)
    _pedestrians(street, crossings)
    return street


def _trains(street: Street, side: int) -> None:
    """Rails beside the pavement; one or two trains on them."""
    t = (street.road.edge_m(side) + 2.3) * (1 if side else -1)
    roads.rails(street.builder, street.road, t)
    speed = float(street.rng.uniform(-8, 8))
    s = float(street.rng.uniform(15, 60)) - min(speed, 0) * 3
    for k in range(2):
        street.vehicle(TRAIN, cruise(s + 70 * k, t, speed), yaw=0.0 if speed > 0 else np.pi, z=0.2)


def _parked(street: Street) -> None:
    """Rows of parked vehicles: along the kerb where there is room, two-wheelers on the pavement."""
    rng, road = street.rng, street.road
    for side in range(2):
        sign = 1 if side else -1
        if road.parking_m:
            s = float(rng.uniform(-20, 5))
            while s < REACH_M + 20:
                kind = int(rng.choice([CAR] * 9 + [TRUCK, MOTORCYCLE, 0, 0, 0]))
                room = {CAR: 5.8, TRUCK: 10.5, MOTORCYCLE: 2.6, 0: 7.0}[kind]
                facing = 0.0 if side == 0 or rng.random() < 0.3 else np.pi
                if kind:
                    at = standing(s + room / 2, sign * (road.half_m - road.parking_m / 2 + rng.uniform(-0.1, 0.1)))
                    street.vehicle(kind, at, yaw=facing + rng.normal(0, 0.02))
                s += room
        _racks(street, side)


def _racks(street: Street, side: int) -> None:
    """Groups of bicycles and motorcycles that stand side by side on the pavement."""
    rng, road = street.rng, street.road
    sign = 1 if side else -1
    for _ in range(int(rng.integers(2, 5))):
        kind = BICYCLE if rng.random() < 0.6 else MOTORCYCLE
        s, gap, turn = float(rng.uniform(6, REACH_M)), float(rng.uniform(0.65, 1.1)), float(rng.uniform(0.2, 1.6))
        t = sign * (road.half_m + road.verge_m[side] + 1.0)
        for k in range(int(rng.integers(1, 6))):
            street.vehicle(kind, standing(s + gap * k, t), yaw=turn + rng.normal(0, 0.06), z=0.13)


def _traffic(street: Street) -> None:
    """A queue ahead in the own lane, companions in the lane beside, an oncoming column in every other lane."""
    rng, road = street.rng, street.road
    ego_t = street.ego.path(0.0)[1]
    lanes = [(k + 0.5 - road.lanes / 2) * road.lane_m for k in range(road.lanes)]
    ahead = float(rng.uniform(9, 30))
    own = min(lanes, key=lambda t: abs(t - ego_t))
    for t in lanes:
        kinds = _mixture(rng)
        if t == own:
            _queue(street, kinds, ahead, t)
        elif t < 0.3 * road.lane_m:
            _companions(street, kinds, t)
        else:
            s, speed = float(rng.uniform(6, 30)), -float(rng.uniform(1.5, 9))
            for kind in kinds:
                street.vehicle(kind, cruise(s, t, speed), yaw=np.pi)
                s += float(rng.uniform(14, 24))


def _mixture(rng: Rng) -> list[int]:
    """Six vehicles of a column, one truck and one bus at least."""
    kinds = [CAR, TRUCK, BUS, CAR] + [int(v) for v in rng.choice([CAR, CAR, CAR, TRUCK, BUS], 2)]
    return [kinds[i] for i in rng.permutation(len(kinds))]


def _queue(street: Street, kinds: list[int], ahead: float, t: float) -> None:
    """Vehicles in front that keep their distance, breathing a little."""
    rng = street.rng
    if rng.random() < 0.3:
        ahead += 25
    for k, kind in enumerate(kinds[:3]):
        kind = CAR if k == 0 and ahead < 20 and rng.random() < 0.7 else kind
        street.vehicle(kind, companion(street.ego.path, ahead, t, float(rng.uniform(0, 1.5)), 7.0, float(rng.uniform(0, 6))))
        ahead += float(rng.uniform(14, 22))


def _companions(street: Street, kinds: list[int], t: float) -> None:
    """Vehicles that overtake the camera car and are overtaken again."""
    rng = street.rng
    amplitude, period, phase = float(rng.uniform(5, 12)), float(rng.uniform(5, 9)), float(rng.uniform(0, 6.3))
    near = float(rng.uniform(4, 20))
    for k, kind in enumerate(kinds[:3]):
        kind = CAR if k == 0 and rng.random() < 0.5 else kind
        street.vehicle(kind, companion(street.ego.path, near + 17 * k, t, amplitude, period, phase))


def _two_wheelers(street: Street) -> None:
    """Cyclists near the kerb and motorcyclists between the lanes, both ways; some stay with the camera car."""
    rng, road = street.rng, street.road
    edge = road.half_m - road.parking_m
    near = float(rng.uniform(6, 10))
    for _ in range(int(rng.integers(5, 9))):
        kind = BICYCLE if rng.random() < 0.55 else MOTORCYCLE
        inset = float(rng.uniform(0.5, 1.0))
        if rng.random() < 0.45:
            away = (near, -edge + inset, float(rng.uniform(1, 6)), float(rng.uniform(5, 9)), float(rng.uniform(0, 6)))
            near += float(rng.uniform(5, 12))
            street.ridden(kind, companion(street.ego.path, *away))
        else:
            forward = rng.random() < 0.5
            speed = float(rng.uniform(2.5, 7)) * (1 if forward else -1)
            t = (-edge + inset) if forward else edge - inset
            street.ridden(kind, cruise(float(rng.uniform(5, 45)), t, speed, 0.15, float(rng.uniform(2, 5))))


def _pedestrians(street: Street, crossings: list[float]) -> None:
    """Walkers alone and in groups on the pavements, people who wait, pace and cross."""
    rng, road = street.rng, street.road
    for _ in range(int(rng.integers(12, 19))):
        side = int(rng.integers(2))
        t = (1 if side else -1) * (road.half_m + road.verge_m[side] + float(rng.uniform(0.7, road.walk_m[side] - 0.4)))
        s, speed = float(rng.uniform(5, 50)), float(rng.uniform(0.8, 1.7))
        if rng.random() < 0.25:
            street.walker(pace(s, t, float(rng.uniform(1.5, 5)), speed, float(rng.random()), False), speed)
        elif rng.random() < 0.25:
            street.walker(standing(s, t), 0.0, yaw=float(rng.uniform(0, 6.28)))
        else:
            heading = 1 if rng.random() < 0.5 else -1
            for k in range(int(rng.choice([1, 1, 2, 3, 5]))):
                offset = (s + 0.55 * (k // 2) + float(rng.uniform(-0.3, 0.3)), t + 0.6 * (k % 2) * (-1 if side else 1))
                street.walker(cruise(*offset, heading * speed, 0.05), speed)
    for s in [*(s for s in crossings if s < 60), float(rng.uniform(10, 40))]:
        speed = float(rng.uniform(0.9, 1.9))
        for _ in range(int(rng.integers(1, 4))):
            path = pace(s + float(rng.uniform(-1.5, 1.5)), 0.0, road.half_m * 2 + 1.5, speed, float(rng.random()), True)
            street.walker(path, speed, z=0.02)


def poses(street: Street, time: float) -> dict[str, tuple[float, float, float, float]]:
    """World (x, y, z, yaw) of every mover at `time` seconds."""
    result = {}
    for mover in street.movers:
        s, t = mover.path(time)
        x, y, heading = street.road.pose(s, t)
        if mover.yaw is None:
            (s0, t0), (s1, t1) = mover.path(time - 0.15), mover.path(time + 0.15)
            moved = np.hypot(s1 - s0, t1 - t0) > 0.02 or mover.gait > 0
            ahead = np.arctan2(t1 - t0, s1 - s0) if moved else 0.0
            if not mover.gait and abs(s1 - s0) < 1.0:
                ahead = 0.0
        else:
            ahead = mover.yaw
        result[mover.name] = (x, y, mover.z, heading + float(ahead))
    return result


def pose_bodies(street: Street, model: "mujoco.MjModel", data: "mujoco.MjData", time: float) -> None:
    """Put every thing where it is at `time`, legs and arms included."""
    for name, (x, y, z, yaw) in poses(street, time).items():
        mocap = model.body(name).mocapid[0]
        data.mocap_pos[mocap] = x, y, z
        data.mocap_quat[mocap] = np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)
    for mover in street.movers:
        if mover.gait:
            _stride(mover, model, data, time)


def _stride(mover: Mover, model: "mujoco.MjModel", data: "mujoco.MjData", time: float) -> None:
    """Swing hips, knees and arms."""
    swing = np.sin(2 * np.pi * (mover.gait * time + mover.phase))
    lift = np.cos(2 * np.pi * (mover.gait * time + mover.phase))
    for k, sign in enumerate((1, -1)):
        angles = {"hip": 0.5 * sign * swing, "knee": max(0.0, -0.8 * sign * lift) + 0.05, "arm": -0.45 * sign * swing}
        for joint, angle in angles.items():
            data.qpos[model.joint(f"{mover.name}.{joint}{k}").qposadr[0]] = angle
