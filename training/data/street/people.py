"""Persons, riders, bicycles and motorcycles. Frame: x forward, z up, origin on the ground."""

from dataclasses import dataclass

import numpy as np

from training.data.street.builder import Part
from training.data.street.meshes import torus
from training.data.street.textures import Rng
from training.data.street.vehicles import hue, paint

DARK, STEEL = (0.06, 0.06, 0.06), (0.6, 0.6, 0.62)


@dataclass(frozen=True)
class Look:
    """Height (1 = 1.75 m), girth and colours of a person."""

    height: float
    girth: float
    shirt: tuple[float, float, float]
    trousers: tuple[float, float, float]
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    skirt: bool


def look(rng: Rng, child: bool = False) -> Look:
    """A person's appearance."""
    skin = np.array([[0.95, 0.76, 0.64], [0.8, 0.58, 0.44], [0.55, 0.36, 0.25], [0.3, 0.2, 0.14]][int(rng.integers(4))])
    hair = np.array([[0.08, 0.06, 0.05], [0.35, 0.22, 0.1], [0.75, 0.6, 0.3], [0.6, 0.6, 0.6]][int(rng.integers(4))])
    height = rng.uniform(0.62, 0.8) if child else rng.uniform(0.9, 1.1)
    trousers = (0.1, 0.13, 0.25) if rng.random() < 0.4 else hue(rng, rng.uniform(0, 0.6), rng.uniform(0.1, 0.7))
    return Look(height, rng.uniform(0.85, 1.25), paint(rng), trousers, tuple(skin), tuple(hair), bool(rng.random() < 0.15))


def person(part: Part, rng: Rng, name: str) -> None:
    """A walker; the joints `name`.hip0, hip1, knee0, knee1, arm0, arm1 swing."""
    who = look(rng, rng.random() < 0.12)
    h, g = who.height, who.girth
    _trunk(part, rng, who, base=0.86 * h, lean=0.0)
    sleeve = who.skin if rng.random() < 0.35 else who.shirt
    for k, side in enumerate((-1, 1)):
        thigh = part.limb((0, side * 0.09 * h * g, 0.88 * h), f"{name}.hip{k}")
        cloth = who.skin if who.skirt else who.trousers
        thigh.rod((0, 0, 0), (0, 0, -0.42 * h), 0.075 * h * g, cloth)
        shank = thigh.limb((0, 0, -0.42 * h), f"{name}.knee{k}")
        shank.rod((0, 0, 0), (0, 0, -0.36 * h), 0.055 * h * g, cloth)
        shank.box((0.06 * h, 0, -0.43 * h), (0.13 * h, 0.05 * h, 0.04 * h), DARK)
        arm = part.limb((0, side * 0.22 * h * g, 1.4 * h), f"{name}.arm{k}")
        arm.rod((0, 0, 0), (0, side * 0.03, -0.28 * h), 0.05 * h * g, who.shirt)
        arm.rod((0, side * 0.03, -0.28 * h), (0.08 * h, side * 0.03, -0.55 * h), 0.042 * h * g, sleeve)
        arm.ellipsoid((0.1 * h, side * 0.03, -0.6 * h), (0.05, 0.04, 0.06), who.skin)
    if who.skirt:
        part.rod((0, 0, 0.9 * h), (0, 0, 0.6 * h), 0.2 * h, who.trousers, flat=True)
    if rng.random() < 0.3:
        part.box((-0.2 * h * g, 0, 1.22 * h), (0.1, 0.15, 0.22), hue(rng, 0.8, 0.6))
    elif rng.random() < 0.25:
        part.box((0.05, -0.32 * h * g, 0.75 * h), (0.15, 0.06, 0.15), hue(rng, 0.6, 0.5))


def _trunk(
    part: Part, rng: Rng, who: Look, base: float, lean: float, x: float = 0.0, helmet: bool = False
) -> tuple[float, float]:
    """Hips, chest and head from height `base` upwards, leaning forward. Returns the shoulder (x, z)."""
    h, g = who.height, who.girth
    neck = (x + 0.56 * h * np.sin(lean), base + 0.56 * h * np.cos(lean))
    part.rod((x, 0, base + 0.05), (x + 0.3 * h * np.sin(lean), 0, base + 0.3 * h * np.cos(lean)), 0.14 * h * g, who.shirt)
    for side in (-1, 1):
        part.rod((x, side * 0.05 * g, base + 0.1), (neck[0], side * 0.13 * h * g, neck[1] - 0.04), 0.1 * h * g, who.shirt)
    part.ellipsoid((x, 0, base), (0.14 * h * g, 0.17 * h * g, 0.11 * h), who.trousers)
    part.rod((neck[0], 0, neck[1]), (neck[0] + 0.03, 0, neck[1] + 0.1 * h), 0.05 * h, who.skin)
    head = (neck[0] + 0.04, 0.0, neck[1] + 0.2 * h)
    part.ellipsoid(head, (0.1 * h, 0.085 * h, 0.125 * h), who.skin)
    cap = hue(rng, 0.8, 0.8) if helmet or rng.random() < 0.15 else who.hair
    grow = 1.25 if helmet else 1.05
    part.ellipsoid((head[0] - 0.02, 0, head[2] + 0.035), (0.105 * h * grow, 0.092 * h * grow, 0.11 * h * grow), cap)
    return neck[0], neck[1] - 0.05


def rider(part: Part, rng: Rng, motor: bool) -> None:
    """Sits on the two-wheeler of the same pose."""
    who = look(rng)
    h, g = who.height, who.girth
    lean = rng.uniform(0.1, 0.35) if motor else rng.uniform(0.25, 0.6)
    seat = (-0.25, 0.88) if motor else (-0.25, 1.0)
    bars = (0.42, 1.02) if motor else (0.4, 1.05)
    shoulder = _trunk(part, rng, who, seat[1] + 0.05, lean, seat[0], helmet=motor or rng.random() < 0.5)
    for k, side in enumerate((-1, 1)):
        wide = 0.2 * h * g
        foot = (0.05, 0.3) if motor else (0.1, 0.25 + 0.3 * k)
        knee = (seat[0] + 0.45 * h, (seat[1] + foot[1]) / 2 + 0.22 + 0.08 * k)
        part.rod((seat[0], side * 0.1, seat[1]), (knee[0], side * wide * 0.8, knee[1]), 0.08 * h * g, who.trousers)
        part.rod((knee[0], side * wide * 0.8, knee[1]), (foot[0], side * 0.14, foot[1]), 0.06 * h * g, who.trousers)
        part.box((foot[0] + 0.06, side * 0.14, foot[1] - 0.04), (0.13, 0.05, 0.045), DARK)
        elbow = ((shoulder[0] + bars[0]) / 2 - 0.05, (shoulder[1] + bars[1]) / 2 - 0.1)
        part.rod((shoulder[0], side * wide, shoulder[1]), (elbow[0], side * (wide + 0.05), elbow[1]), 0.055 * h * g, who.shirt)
        part.rod((elbow[0], side * (wide + 0.05), elbow[1]), (bars[0], side * 0.26, bars[1] + 0.03), 0.045 * h * g, who.shirt)
    if rng.random() < 0.3:
        part.box((shoulder[0] - 0.25, 0, shoulder[1] - 0.2), (0.1, 0.15, 0.2), hue(rng, 0.8, 0.6))


def bicycle(part: Part, rng: Rng) -> tuple[float, float]:
    """A diamond frame; the annotation fills wheels and frame."""
    color, wheel = paint(rng), rng.uniform(0.31, 0.36)
    tyre = part.builder.mesh(torus(wheel, 0.032))
    hubs = (0.53, -0.53)
    for x in hubs:
        part.mesh(tyre, DARK, pos=(x, 0, wheel))
        part.rod((x, -0.015, wheel), (x, 0.015, wheel), wheel, DARK, fill=True, flat=True)
        for angle in np.arange(4) * np.pi / 4:
            c, s = wheel * np.cos(angle), wheel * np.sin(angle)
            part.rod((x - c, 0, wheel - s), (x + c, 0, wheel + s), 0.006, STEEL)
    crank, seat, head = (-0.05, 0.29), (-0.2, 0.88), (0.36, 0.86)
    rear, front = (hubs[1], wheel), (hubs[0], wheel)
    for a, b in ((crank, seat), (crank, head), (seat, head), (rear, crank), (rear, seat), (head, front)):
        part.rod((a[0], 0, a[1]), (b[0], 0, b[1]), 0.026, color, "paint")
    part.box((0.03, 0, 0.66), (0.24, 0.012, 0.17), color, fill=True)
    part.box((seat[0], 0, seat[1] + 0.06), (0.14, 0.07, 0.03), DARK)
    part.rod((0.4, -0.28, 1.02), (0.4, 0.28, 1.02), 0.022, DARK)
    part.rod((head[0], 0, head[1]), (0.4, 0, 1.02), 0.024, color)
    part.rod((crank[0], 0, crank[1]), (crank[0] + 0.02, 0, crank[1] + 0.01), 0.1, STEEL, flat=True)
    if rng.random() < 0.4:
        part.box((-0.5, 0, 0.8), (0.2, 0.1, 0.1 if rng.random() < 0.5 else 0.02), hue(rng, 0.4, 0.3))
    if rng.random() < 0.6:
        for x in hubs:
            part.box((x, 0, 2 * wheel + 0.04), (0.2, 0.035, 0.012), color)
    return 0.88, 0.28


def motorcycle(part: Part, rng: Rng) -> tuple[float, float]:
    """A scooter or a motorcycle."""
    color, scooter = paint(rng), rng.random() < 0.35
    wheel = 0.24 if scooter else rng.uniform(0.28, 0.33)
    tyre = part.builder.mesh(torus(wheel - 0.06, 0.08))
    for x in (0.72, -0.68):
        part.mesh(tyre, DARK, pos=(x, 0, wheel + 0.02))
        part.rod((x, -0.05, wheel), (x, 0.05, wheel), wheel * 0.7, STEEL, flat=True)
    part.rod((0.72, 0, wheel), (0.45, 0, 1.0), 0.05, STEEL)
    part.rod((0.42, -0.33, 1.04), (0.42, 0.33, 1.04), 0.025, DARK)
    for side in (-1, 1):
        part.ellipsoid((0.4, side * 0.3, 1.15), (0.02, 0.06, 0.04), STEEL)
    part.ellipsoid((0.55, 0, 0.92), (0.12, 0.12, 0.12), (0.9, 0.9, 0.8))
    part.box((-0.35, 0, 0.82), (0.38, 0.14, 0.06), DARK)
    part.box((-0.85, 0, 0.75), (0.04, 0.1, 0.05), (0.8, 0.05, 0.05))
    part.ellipsoid((-0.55, 0, 0.68), (0.32, 0.14, 0.14), color, "paint")
    if scooter:
        part.box((0.42, 0, 0.65), (0.06, 0.22, 0.32), color, "paint")
        part.box((0.05, 0, 0.3), (0.4, 0.17, 0.06), color, "paint")
        part.ellipsoid((-0.4, 0, 0.52), (0.42, 0.19, 0.25), color, "paint")
    else:
        part.ellipsoid((0.15, 0, 0.85), (0.3, 0.17, 0.17), color, "paint")
        part.box((0.05, 0, 0.48), (0.28, 0.16, 0.2), (0.25, 0.25, 0.26))
        part.rod((0.1, -0.18, 0.32), (-0.8, -0.2, 0.42), 0.055, STEEL)
    if rng.random() < 0.35:
        part.box((-0.75, 0, 1.02), (0.18, 0.2, 0.16), hue(rng, 0.5, 0.4))
    return 1.02, 0.35
