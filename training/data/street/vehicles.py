"""Cars, trucks, buses and trains, built from prisms and boxes. Frame: x forward, z up, origin on the ground in the middle."""

import numpy as np

from training.data.street.builder import Part
from training.data.street.meshes import prism
from training.data.street.textures import Rng

GLASS, TYRE, HUB = (0.07, 0.09, 0.12), (0.05, 0.05, 0.05), (0.55, 0.55, 0.57)


def paint(rng: Rng) -> tuple[float, float, float]:
    """A car colour: greys and blacks as often as on the street, and every hue."""
    if rng.random() < 0.5:
        tone = float(rng.choice([0.06, 0.2, 0.45, 0.7, 0.95]) * rng.uniform(0.85, 1.05))
        return (tone, tone, min(tone * rng.uniform(0.95, 1.1), 1.0))
    return hue(rng, rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.9))


def hue(rng: Rng, saturation: float, value: float) -> tuple[float, float, float]:
    """A random hue, RGB 0..1."""
    sector = (rng.random() * 6 + np.array([0, 4, 2])) % 6
    rgb = np.clip(np.abs(sector - 3) - 1, 0, 1)
    return tuple(float(c) for c in value * (1 - saturation * (1 - rgb)))


def wheels(part: Part, places: list[float], half: float, radius: float) -> None:
    """Pairs of wheels at x = `places`."""
    for x in places:
        for side in (-1, 1):
            part.rod((x, side * (half - 0.2), radius), (x, side * (half + 0.01), radius), radius, TYRE, flat=True)
            part.rod((x, side * half, radius), (x, side * (half + 0.025), radius), radius * 0.55, HUB, flat=True)


def lamps(part: Part, front: float, back: float, half: float, z: float) -> None:
    """White in front, red behind, plates on both ends."""
    for side in (-1, 1):
        part.box((front, side * (half - 0.2), z), (0.04, 0.16, 0.08), (0.95, 0.95, 0.85))
        part.box((back, side * (half - 0.15), z + 0.08), (0.04, 0.12, 0.1), (0.75, 0.03, 0.03))
    for x in (front, back):
        part.box((x, 0, z - 0.25), (0.04, 0.25, 0.06), (0.9, 0.9, 0.85))


def car(part: Part, rng: Rng) -> tuple[float, float]:
    """A hatchback, sedan, estate, off-roader or van. Returns its half length and half width."""
    kind = rng.choice(["hatch", "sedan", "estate", "suv", "van"], p=[0.27, 0.27, 0.16, 0.18, 0.12])
    long = {"hatch": 1.95, "sedan": 2.3, "estate": 2.35, "suv": 2.3, "van": 2.5}[kind] * rng.uniform(0.92, 1.08)
    half = rng.uniform(0.82, 0.93) + (0.08 if kind in ("suv", "van") else 0)
    low = 0.2 + (0.1 if kind == "suv" else 0)
    belt = low + rng.uniform(0.62, 0.7) + (0.15 if kind in ("suv", "van") else 0)
    top = belt + rng.uniform(0.5, 0.58) + (0.45 if kind == "van" else 0.05)
    hood = {"hatch": 0.48, "sedan": 0.42, "estate": 0.45, "suv": 0.45, "van": 0.72}[kind] * long
    tail = {"hatch": -0.86, "sedan": -0.62, "estate": -0.95, "suv": -0.93, "van": -0.97}[kind] * long
    color = paint(rng)
    body = [
        (-long, low, half),
        (long, low, half * 0.94),
        (long, belt - 0.28, half * 0.93),
        (long * 0.9, belt - 0.12, half * 0.97),
        (hood, belt, half),
        (-long * 0.97, belt, half),
        (-long, belt - 0.1, half * 0.97),
    ]
    part.mesh(prism(body), color, "paint")
    slope = 0.25 if kind == "van" else rng.uniform(0.55, 0.75)
    glass = [
        (tail, belt - 0.01, half * 0.96),
        (hood + 0.05, belt - 0.01, half * 0.96),
        (hood - slope, top, half * 0.8),
        (tail + (0.12 if kind in ("van", "estate", "suv") else 0.4), top, half * 0.8),
    ]
    part.mesh(prism(glass), GLASS, "paint")
    _roof(part, glass, top, half, color, kind == "van" and rng.random() < 0.6)
    wheels(part, [long * 0.62, -long * 0.62], half, rng.uniform(0.3, 0.36) + (0.05 if kind == "suv" else 0))
    lamps(part, long * 0.985, -long * 0.99, half, belt - 0.3)
    part.box((0, 0, low), (long * 1.01, half * 0.95, 0.09), (0.08, 0.08, 0.08))
    return long, half


def _roof(
    part: Part, glass: list[tuple[float, float, float]], top: float, half: float, color: tuple[float, float, float], panel: bool
) -> None:
    """The painted roof, the pillars, and the closed sides of a delivery van."""
    (tail, belt, _), (front, _, _), (roof_front, _, _), (roof_back, _, _) = glass
    part.box(((roof_front + roof_back) / 2, 0, top), ((roof_front - roof_back) / 2 + 0.03, half * 0.8, 0.045), color, "paint")
    wide = half * 0.97
    for low, high in ((front, roof_front), (tail, roof_back), ((front + tail) / 2, (roof_front + roof_back) / 2)):
        for side in (-1, 1):
            part.rod((low, side * wide, belt), (high, side * half * 0.8, top), 0.05, color, "paint")
    if panel:
        middle = (tail + front) / 2
        part.mesh(
            prism(
                [
                    (tail, belt, half),
                    (middle - 0.2, belt, half),
                    (middle - 0.3, top + 0.02, half * 0.86),
                    (tail + 0.08, top + 0.02, half * 0.86),
                ]
            ),
            color,
            "paint",
        )


def truck(part: Part, rng: Rng) -> tuple[float, float]:
    """A cab and a box, a tarpaulin, or an open bed with a load."""
    long, half = rng.uniform(3.0, 4.6), rng.uniform(1.1, 1.25)
    cab, color = rng.uniform(1.7, 2.1), paint(rng)
    top = rng.uniform(2.3, 2.9)
    nose = long - cab
    part.mesh(
        prism(
            [(nose, 0.5, half), (long, 0.5, half), (long, 1.35, half), (long - 0.25, top, half * 0.93), (nose, top, half * 0.93)]
        ),
        color,
        "paint",
    )
    part.mesh(
        prism(
            [
                (long - 0.25, 1.4, half * 0.9),
                (long + 0.015, 1.4, half * 0.9),
                (long - 0.2, top - 0.2, half * 0.85),
                (long - 0.35, top - 0.2, half * 0.85),
            ]
        ),
        GLASS,
        "paint",
    )
    for side in (-1, 1):
        part.box((long - cab * 0.45, side * half * 0.97, 1.8), (cab * 0.25, 0.03, 0.3), GLASS, "paint")
        part.box((long + 0.05, side * (half + 0.1), 1.9), (0.04, 0.1, 0.2), (0.1, 0.1, 0.1))
    part.box((-0.1, 0, 0.75), (long * 0.97, half * 0.6, 0.12), (0.12, 0.12, 0.13))
    _cargo(part, rng, (-long + nose - 0.15) / 2, (nose - 0.15 + long) / 2, half, color)
    wheels(part, [long - 0.9, -long + 1.0] + ([-long + 2.0] if long > 3.7 else []), half, rng.uniform(0.42, 0.5))
    lamps(part, long * 0.995, -long, half, 0.85)
    return long, half


def _cargo(part: Part, rng: Rng, x: float, reach: float, half: float, cab: tuple[float, float, float]) -> None:
    """What stands on the chassis."""
    kind = rng.random()
    color = (0.9, 0.9, 0.88) if rng.random() < 0.4 else (cab if rng.random() < 0.3 else paint(rng))
    if kind < 0.65:
        tall = rng.uniform(1.0, 1.35)
        part.box((x, 0, 0.9 + tall), (reach, half * 1.04, tall), color, "panel" if kind < 0.3 else "paint")
        stripe = hue(rng, 0.8, 0.7)
        part.box((x, 0, 0.9 + tall * rng.uniform(0.5, 1.5)), (reach * 0.8, half * 1.05, 0.2), stripe)
        return
    part.box((x, 0, 0.95), (reach, half, 0.1), color, "paint")
    for side in (-1, 1):
        part.box((x, side * half, 1.25), (reach, 0.05, 0.3), color, "paint")
    part.box((x - reach, 0, 1.25), (0.05, half, 0.3), color, "paint")
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(0.3, 0.7, 3)
        part.box(
            (x + rng.uniform(-0.6, 0.6) * reach, rng.uniform(-0.4, 0.4) * half, 1 + size[2]),
            tuple(size),
            hue(rng, 0.5, 0.6),
            "wood",
        )


def bus(part: Part, rng: Rng) -> tuple[float, float]:
    """A city bus: long, with a band of windows and doors on its right."""
    long, half, top = rng.uniform(4.8, 6.2), rng.uniform(1.2, 1.28), rng.uniform(2.8, 3.2)
    color = hue(rng, rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.95)) if rng.random() < 0.75 else (0.9, 0.9, 0.9)
    part.mesh(
        prism(
            [
                (-long, 0.35, half),
                (long, 0.35, half),
                (long + 0.08, 1.2, half),
                (long - 0.12, top, half * 0.95),
                (-long, top, half * 0.95),
            ]
        ),
        color,
        "paint",
    )
    stripe = paint(rng)
    part.box((0, 0, 0.75), (long * 0.98, half + 0.015, rng.uniform(0.08, 0.3)), stripe)
    count = int(rng.integers(5, 8))
    step = 2 * long * 0.94 / count
    for k in range(count):
        for side in (-1, 1):
            part.box(
                (-long * 0.94 + (k + 0.5) * step, side * half * 0.985, (1.2 + top) / 2 + 0.02),
                (step * 0.44, 0.03, (top - 1.2) * 0.36),
                GLASS,
                "paint",
            )
    for x in (long * 0.8, -long * 0.1):
        part.box((x, -half * 0.99, 1.35), (0.55, 0.03, 0.95), (0.12, 0.14, 0.16), "paint")
    part.box((long, 0, 1.75), (0.07, half * 0.9, 0.6), GLASS, "paint")
    part.box((-long, 0, 1.95), (0.03, half * 0.8, 0.4), GLASS, "paint")
    part.box((long - 0.05, 0, top - 0.25), (0.08, half * 0.7, 0.13), (0.95, 0.65, 0.1))
    part.box((rng.uniform(-2, 1), 0, top + 0.1), (1.2, half * 0.6, 0.12), (0.8, 0.8, 0.8))
    wheels(part, [long * 0.62, -long * 0.55], half, 0.48)
    lamps(part, long * 1.01, -long, half, 0.75)
    return long, half


def train(part: Part, rng: Rng) -> tuple[float, float]:
    """A tram or light train of two or three cars with bellows between them, on its rails."""
    cars, each, half, top = int(rng.integers(2, 4)), rng.uniform(5.5, 7.5), 1.3, rng.uniform(3.3, 3.8)
    color, other = hue(rng, rng.uniform(0.5, 0.95), rng.uniform(0.4, 0.9)), paint(rng)
    total = cars * each
    for k in range(cars):
        x = -total + (2 * k + 1) * each
        nose, rear = (0.9 if k == cars - 1 else 0), (0.9 if k == 0 else 0)
        reach = each - 0.25
        part.mesh(
            prism(
                [
                    (x - reach, 0.45, half),
                    (x + reach, 0.45, half),
                    (x + reach, 1.5, half * (0.9 if nose else 1)),
                    (x + reach - nose, top, half * 0.9),
                    (x - reach + rear, top, half * 0.9),
                    (x - reach, 1.5, half * (0.9 if rear else 1)),
                ]
            ),
            color,
            "paint",
        )
        part.box((x, 0, 2.35), (reach - max(nose, rear), half + 0.01, 0.5), GLASS, "paint")
        for door in np.linspace(-0.6, 0.6, 3):
            part.box((x + door * reach, 0, 1.7), (0.55, half + 0.025, 1.15), other, "paint")
        part.box((x, 0, 0.9), (reach * 0.97, half + 0.012, 0.15), other)
        part.box((x, 0, 0.3), (reach * 0.8, half * 0.8, 0.3), (0.1, 0.1, 0.1))
        part.box((x, 0, top + 0.15), (reach * 0.5, half * 0.6, 0.18), (0.6, 0.6, 0.62))
        if k:
            part.box((x - each, 0, 1.9), (0.3, half * 0.9, 1.4), (0.12, 0.12, 0.12))
    for end, sign in ((total - 0.3, 1), (-total + 0.3, -1)):
        part.mesh(
            prism(
                [
                    (end - sign * 0.5, 1.6, 1.0),
                    (end + sign * 0.08, 1.6, 1.0),
                    (end - sign * 0.55, top - 0.4, 0.95),
                    (end - sign * 0.9, top - 0.4, 0.95),
                ][::sign]
            ),
            GLASS,
            "paint",
        )
        for side in (-1, 1):
            part.box(
                (end + sign * 0.03, side * 0.8, 1.1), (0.05, 0.16, 0.1), (0.95, 0.95, 0.8) if sign > 0 else (0.8, 0.05, 0.05)
            )
    return total, half
