"""What stands beside the road: buildings, walls, fences, trees, poles with lights and signs, things without a label."""

import numpy as np

from training.data.street import labels, textures
from training.data.street.builder import Builder, Part, roll_quat
from training.data.street.meshes import prism
from training.data.street.road import BEGIN_M, END_M, Road
from training.data.street.textures import Rng
from training.data.street.vehicles import hue

TO_WALL = roll_quat(np.pi / 2)


def materials(builder: Builder, rng: Rng) -> None:
    """The textures that all scenery shares, new for every scene."""
    for k in range(5):
        builder.material(f"facade{k}", textures.facade(rng), tile_m=float(rng.uniform(10, 15)))
    for k in range(2):
        builder.material(f"leaves{k}", textures.grainy(rng, (215, 215, 215), 0.75, 128), cube=True)
    builder.material("brick", textures.bricks(rng, tuple(textures.wall_color(rng))), tile_m=2.4)
    builder.material("plaster", textures.grainy(rng, tuple(textures.wall_color(rng)), 0.25), tile_m=4.0)
    builder.material("wood", textures.planks(rng, (235, 230, 220)), tile_m=2.0)
    builder.material("panel", textures.planks(rng, (245, 245, 245)), tile_m=4.0)
    builder.material("paint", shine=0.5)


def frontage(builder: Builder, road: Road, rng: Rng, side: int, setback_m: float) -> None:
    """Fill one side of the road with blocks; `setback_m` is kept free beyond the pavement (for rails)."""
    s = BEGIN_M
    while s < END_M:
        long = float(rng.uniform(9, 24))
        base = road.edge_m(side) + setback_m
        kind = rng.choice(["house", "wall", "fence", "hedge", "open"], p=[0.3, 0.22, 0.22, 0.15, 0.11])
        if kind == "house":
            building(builder, road, rng, side, s, long, base)
        else:
            _border(builder, road, rng, str(kind), side, s, long, base)
            deep = base + rng.uniform(5, 14)
            if rng.random() < 0.6:
                building(builder, road, rng, side, s, long * rng.uniform(0.5, 1), deep)
            for _ in range(int(rng.integers(1, 4))):
                place = road.pose(s + rng.uniform(0, long), _t(side, base + rng.uniform(1.8, deep - base - 1)))
                tree(builder.fixed(labels.VEGETATION, (*place[:2], 0.0)), rng)
        s += long
    _skyline(builder, road, rng, side, setback_m)


def _t(side: int, distance: float) -> float:
    """Lateral offset of a distance from the centre line."""
    return distance if side else -distance


def _border(builder: Builder, road: Road, rng: Rng, kind: str, side: int, s: float, long: float, base: float) -> None:
    """A wall, fence or hedge of pieces that follow the road."""
    count = max(1, round(long / 3.5))
    half = long / count / 2
    style, tall = rng.random(), float(rng.uniform(1.0, 2.4))
    color = tuple(rng.uniform(0.55, 1.0) * np.array([1, rng.uniform(0.8, 1), rng.uniform(0.65, 1)]))
    if style > 0.4 and kind == "fence":
        color = hue(rng, rng.uniform(0, 0.7), rng.uniform(0.15, 0.85))
    for k in range(count):
        x, y, yaw = road.pose(s + (2 * k + 1) * half, _t(side, base + 0.3))
        if kind == "wall":
            part = builder.fixed(labels.WALL, (x, y, 0), yaw)
            part.box((0, 0, tall / 2), (half + 0.05, tall / 2, 0.14), color, "brick" if style < 0.5 else "plaster", TO_WALL)
            part.box((0, 0, tall), (half + 0.05, 0.2, 0.06), tuple(0.8 * c for c in color))
        elif kind == "fence":
            _fence(builder.fixed(labels.FENCE, (x, y, 0), yaw), half, min(tall, 1.9), color, style < 0.55)
        elif kind == "hedge":
            part = builder.fixed(labels.VEGETATION, (x, y, 0), yaw)
            green = leaf_color(rng, 0.8)
            part.box((0, 0, tall / 2), (half, 0.5, tall / 2), green, "leaves0")
            for _ in range(3):
                part.ellipsoid(
                    (rng.uniform(-half, half), 0, tall * rng.uniform(0.7, 1)), (rng.uniform(0.5, 1), 0.55, 0.4), green, "leaves1"
                )


def _fence(part: Part, half: float, tall: float, color: tuple[float, ...], solid: bool) -> None:
    """Boards, or a railing whose gaps the annotation fills."""
    part.rod((half, 0, 0), (half, 0, tall + 0.1), 0.06, color)
    if solid:
        part.box((0, 0, tall / 2), (half, tall / 2, 0.03), color, "wood", TO_WALL)
        return
    for z in (0.12, 0.5, 0.88):
        part.box((0, 0, z * tall), (half, 0.025, 0.04), color)
    for x in np.linspace(-half, half, 12):
        part.box((float(x), 0, tall / 2), (0.028, 0.02, tall / 2), color)
    part.box((0, 0, tall / 2), (half, 0.01, tall / 2), color, fill=True)


def building(builder: Builder, road: Road, rng: Rng, side: int, s: float, long: float, base: float) -> None:
    """A house whose front is `base` metres from the centre line, with a plinth and a flat or pitched roof."""
    tall, deep = float(rng.uniform(4, 9) if rng.random() < 0.35 else rng.uniform(8, 24)), float(rng.uniform(6, 10))
    bend = abs(road.curvature) * long**2 / 8
    x, y, yaw = road.pose(s + long / 2, _t(side, base + bend + deep / 2))
    part = builder.fixed(labels.BUILDING, (x, y, 0), yaw)
    half, tint = long / 2 - 0.02, tuple(rng.uniform(0.8, 1.0, 3))
    face = f"facade{int(rng.integers(5))}"
    sign = 1 if side else -1
    part.box((0, 0, tall / 2), (half, deep / 2, tall / 2), tint, "plaster")
    part.box((0, -sign * deep / 2, tall / 2), (half, tall / 2, 0.05), tint, face, TO_WALL)
    for end in (-1, 1):
        part.box((end * half, 0, tall / 2), (tall / 2, deep / 2, 0.04), tint, face, np.array([np.sqrt(0.5), 0, np.sqrt(0.5), 0]))
    trim = tuple(rng.uniform(0.2, 0.8) * np.ones(3))
    part.box((0, -sign * deep / 2, 0.35), (half, 0.12, 0.35), trim)
    part.box((0, -sign * deep / 2, tall), (half + 0.05, 0.25, 0.15), trim)
    if rng.random() < 0.5:
        _shop(part, rng, -sign * (deep / 2 + 0.07), half)
    if rng.random() < 0.5:
        red = tuple(np.array([0.5, 0.3, 0.25]) * rng.uniform(0.6, 1.4))
        part.mesh(
            prism(
                [
                    (-half, tall, deep / 2),
                    (half, tall, deep / 2),
                    (half - 0.4, tall + rng.uniform(1.5, 4), 0.2),
                    (-half + 0.4, tall + 3, 0.2),
                ]
            ),
            red,
        )


def _shop(part: Part, rng: Rng, y: float, half: float) -> None:
    """Shop windows, doors and a fascia on the ground floor."""
    part.box((0, y, 3.1), (half * 0.96, 0.12, 0.3), hue(rng, 0.7, 0.7))
    for x in np.arange(-half + 1.6, half - 1, 3.2):
        color = (0.1, 0.12, 0.15) if rng.random() < 0.75 else hue(rng, 0.5, 0.4)
        part.box((float(x), y, 1.45), (1.3, 0.05, 1.25), color, "paint")


def _skyline(builder: Builder, road: Road, rng: Rng, side: int, setback_m: float) -> None:
    """Far houses and woods that close the horizon."""
    for s in np.arange(BEGIN_M + 20, END_M + 30, 16.0):
        base = road.edge_m(side) + setback_m + rng.uniform(26, 40)
        x, y, yaw = road.pose(float(s), _t(side, base))
        if rng.random() < 0.5:
            radii = (rng.uniform(7, 14), rng.uniform(4, 8), rng.uniform(5, 12))
            builder.fixed(labels.VEGETATION, (x, y, 0), yaw).ellipsoid((0, 0, 0), radii, leaf_color(rng, 0.6), "leaves0")
        elif rng.random() < 0.6:
            building(builder, road, rng, side, float(s), float(rng.uniform(8, 15)), base)


def leaf_color(rng: Rng, bright: float = 1.0) -> tuple[float, float, float]:
    """Greens, sometimes autumn."""
    base = np.array([0.3, 0.5, 0.18]) if rng.random() < 0.8 else np.array([0.65, 0.45, 0.15])
    return tuple((base * rng.uniform(0.6, 1.2) * bright + rng.uniform(-0.05, 0.05, 3)).clip(0.03, 1))


def tree(part: Part, rng: Rng) -> None:
    """A trunk and a crown of ellipsoids; or a conifer; or a bush."""
    kind, color = rng.random(), leaf_color(rng)
    size = rng.uniform(0.7, 1.3)
    if kind < 0.25:
        for _ in range(4):
            part.ellipsoid(
                (rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 0.5), 0.4 * size),
                tuple(rng.uniform(0.5, 0.95, 3) * size),
                color,
                "leaves1",
            )
        return
    trunk, bark = 2.4 * size, tuple(np.array([0.32, 0.25, 0.19]) * rng.uniform(0.5, 1.4))
    part.rod((0, 0, 0), (0, 0, trunk + 1), 0.15 * size, bark, "leaves0")
    if kind < 0.4:
        for k in range(4):
            wide = (1.5 - 0.32 * k) * size
            part.ellipsoid((0, 0, 1.6 * size + 1.1 * k * size), (wide, wide, 1.0 * size), color, "leaves1")
        return
    for _ in range(int(rng.integers(5, 9))):
        shade = tuple(np.clip(np.array(color) * rng.uniform(0.75, 1.2), 0, 1))
        offset = rng.normal(0, 0.75, 3) * size
        part.ellipsoid(
            (offset[0], offset[1], trunk + 1.3 * size + offset[2]),
            tuple(rng.uniform(0.8, 1.5, 3) * size),
            shade,
            f"leaves{int(rng.integers(2))}",
        )


def street_furniture(builder: Builder, road: Road, rng: Rng, crossings: list[float]) -> None:
    """Lamps, signs and trees along the kerb; traffic lights at the crossings; boxes and bins."""
    for side in range(2):
        at = road.half_m + (road.verge_m[side] / 2 if road.verge_m[side] > 0.3 else 0.5)
        lean = 1 if side == 0 else -1
        s, step = BEGIN_M + rng.uniform(0, 10), rng.uniform(7, 14)
        while s < END_M:
            x, y, yaw = road.pose(s, _t(side, at))
            kind = rng.random()
            if kind < 0.3:
                lamp(builder, rng, (x, y, 0.1), yaw, lean)
            elif kind < 0.68:
                sign(builder, rng, (x, y, 0.1), yaw)
            elif kind < 0.85:
                tree(builder.fixed(labels.VEGETATION, (x, y, 0.1)), rng)
            elif kind < 0.93:
                color = hue(rng, 0.6, 0.4)
                builder.fixed(labels.VOID, (x, y, 0.1), yaw).box((0, 0, 0.55), (0.3, 0.3, 0.55), color)
            s += step * rng.uniform(0.6, 1.5)
    for s in crossings:
        for side, ahead in ((0, 2.3), (1, 2.3), (0, -2.3), (1, -2.3)):
            x, y, yaw = road.pose(s + ahead, _t(side, road.half_m + 0.45))
            traffic_light(builder, rng, (x, y, 0.1), yaw, 1 if side == 0 else -1, road.half_m)


def lamp(builder: Builder, rng: Rng, pos: tuple[float, float, float], yaw: float, lean: int) -> None:
    """A street lamp, all of it pole."""
    tall, grey = rng.uniform(5.5, 8.5), tuple(np.full(3, rng.uniform(0.15, 0.65)))
    part = builder.fixed(labels.POLE, pos, yaw)
    part.rod((0, 0, 0), (0, 0, tall), rng.uniform(0.08, 0.13), grey)
    part.rod((0, 0, tall), (0, lean * 1.6, tall + 0.3), 0.05, grey)
    part.box((0, lean * 1.7, tall + 0.28), (0.15, 0.35, 0.07), (0.75, 0.75, 0.7))


def sign(builder: Builder, rng: Rng, pos: tuple[float, float, float], yaw: float) -> None:
    """A post with one or two signs that face either way."""
    tall, grey = rng.uniform(2.3, 3.2), tuple(np.full(3, rng.uniform(0.35, 0.7)))
    turn = yaw + rng.normal(0, 0.15)
    builder.fixed(labels.POLE, pos, turn).rod((0, 0, 0), (0, 0, tall + 0.3), 0.05, grey)
    part = builder.fixed(labels.SIGN, pos, turn)
    for k in range(int(rng.integers(1, 3))):
        _plate(part, rng, tall - 0.75 * k)


def _plate(part: Part, rng: Rng, z: float) -> None:
    """A round, square, wide or three-cornered plate with a symbol on both faces."""
    color = [(0.8, 0.05, 0.05), (0.05, 0.2, 0.7), (0.95, 0.8, 0.1), (0.9, 0.9, 0.9), (0.05, 0.45, 0.2)][int(rng.integers(5))]
    inner = (0.95, 0.95, 0.95) if color != (0.9, 0.9, 0.9) else (0.1, 0.1, 0.1)
    kind, r = rng.random(), rng.uniform(0.32, 0.45)
    for k, (shade, scale) in enumerate(((color, 1.0), (inner, 0.6))):
        thick = 0.03 + 0.012 * k
        if kind < 0.45:
            part.rod((-thick, 0, z), (thick, 0, z), r * scale, shade, flat=True)
        elif kind < 0.7:
            part.box((0, 0, z), (thick, r * scale, r * scale), shade, quat=roll_quat(np.pi / 4))
        else:
            part.box((0, 0, z), (thick, (0.4 + 0.5 * (kind > 0.9)) * scale, 0.4 * scale), shade)


def traffic_light(builder: Builder, rng: Rng, pos: tuple[float, float, float], yaw: float, lean: int, reach: float) -> None:
    """A post with one light, and often a second on an arm over the road."""
    grey, lit = tuple(np.full(3, rng.uniform(0.1, 0.5))), int(rng.integers(3))
    arm = rng.random() < 0.5
    tall = 5.6 if arm else 3.2
    pole = builder.fixed(labels.POLE, pos, yaw)
    pole.rod((0, 0, 0), (0, 0, tall), 0.09, grey)
    heads = [(0.0, 2.7)]
    if arm:
        far = min(reach * 0.7, 5.0)
        pole.rod((0, 0, tall), (0, lean * far, tall), 0.06, grey)
        heads.append((lean * far, tall - 0.2))
    for y, z in heads:
        _light_head(builder.fixed(labels.LIGHT, pos, yaw), y, z, lit)


def _light_head(part: Part, y: float, z: float, lit: int) -> None:
    """Three lamps in a dark box, on both faces."""
    part.box((0, y, z), (0.19, 0.22, 0.56), (0.08, 0.08, 0.07))
    colors = [(1.0, 0.1, 0.1), (1.0, 0.7, 0.1), (0.1, 0.95, 0.4)]
    for k, color in enumerate(colors):
        shade = color if k == lit else tuple(0.25 * c for c in color)
        part.ellipsoid((0, y, z + 0.34 * (1 - k)), (0.22, 0.14, 0.14), shade)
