"""Light and weather of a scene, and what they and the camera do to the rendered picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from training.data.street import textures
from training.data.street.textures import Rng


@dataclass(frozen=True)
class Weather:
    """Light: unit `sun_direction`, RGB 0..1 `sun`, `fill`, `ambient`. `haze`: RGB 0..255 at the horizon; `fog` in 1/m.

    sky: (256, 1024, 3) float32. fall: "", "rain" or "snow". The rest is the camera: gains (3,), gamma, noise (of 255), blur in
    px.
    """

    sun_direction: np.ndarray
    sun: np.ndarray
    fill: np.ndarray
    ambient: np.ndarray
    shadows: bool
    haze: np.ndarray
    fog: float
    sky: np.ndarray
    fall: str
    density: float
    gains: np.ndarray
    gamma: float
    noise: float
    blur: float
    vignette: float


def random_weather(rng: Rng) -> Weather:
    """Sunny, overcast, dusk, fog, rain or snow."""
    kind = str(rng.choice(["sun", "overcast", "dusk", "fog", "rain", "snow"], p=[0.42, 0.22, 0.12, 0.08, 0.1, 0.06]))
    angle, height = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(25, 70) if kind != "dusk" else rng.uniform(10, 22))
    direction = -np.array([np.cos(angle) * np.cos(height), np.sin(angle) * np.cos(height), np.sin(height)])
    strength = {"sun": rng.uniform(0.75, 1.1), "dusk": rng.uniform(0.5, 0.8)}.get(kind, rng.uniform(0.12, 0.3))
    warm = np.array([1.0, 0.68, 0.42]) if kind == "dusk" else np.array([1.0, rng.uniform(0.93, 1), rng.uniform(0.82, 1)])
    ambient = {"sun": rng.uniform(0.45, 0.65), "dusk": rng.uniform(0.35, 0.55)}.get(kind, rng.uniform(0.65, 0.9))
    cool = np.array([rng.uniform(0.85, 0.98), 0.95, 1.0])
    haze, zenith = _sky_colors(rng, kind)
    cover = {"sun": rng.uniform(0, 0.7), "dusk": rng.uniform(0.1, 0.6)}.get(kind, rng.uniform(0.6, 1.0))
    fog = {"fog": rng.uniform(0.012, 0.035), "snow": rng.uniform(0.005, 0.015), "rain": rng.uniform(0.003, 0.012)}.get(
        kind, rng.uniform(0, 0.004)
    )
    return Weather(
        direction,
        strength * warm,
        0.35 * ambient * cool,
        ambient * cool,
        bool(kind in ("sun", "dusk") and rng.random() < 0.85),
        haze,
        float(fog),
        textures.sky(rng, zenith, haze, float(cover)),
        kind if kind in ("rain", "snow") else "",
        float(rng.uniform(0.4, 1.0)),
        rng.normal(1, 0.05, 3),
        float(rng.uniform(0.8, 1.2)),
        float(rng.uniform(1.0, 6.0)),
        float(rng.choice([0, 0, 0.5, 0.8])),
        float(rng.uniform(0, 0.3)),
    )


def _sky_colors(rng: Rng, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Horizon and zenith, RGB 0..255."""
    if kind == "sun":
        return np.array([200, 215, 232]) * rng.uniform(0.85, 1.05), np.array([70, 120, 200]) * rng.uniform(0.7, 1.25)
    if kind == "dusk":
        return np.array([225, 150, 100]) * rng.uniform(0.6, 1.0), np.array([60, 65, 110]) * rng.uniform(0.6, 1.2)
    grey = rng.uniform(140, 225)
    return np.full(3, grey) + rng.uniform(-6, 6, 3), np.full(3, grey * rng.uniform(0.75, 1.0)) + rng.uniform(-6, 6, 3)


def develop(weather: Weather, rgb: np.ndarray, depth: np.ndarray, rotation: np.ndarray, focal: float, rng: Rng) -> np.ndarray:
    """The camera's picture. rgb: (H, W, 3) uint8; depth: (H, W) metres, 0 sky; rotation: (3, 3) camera (x right, y down) to
    world.

    rng: of this frame. Returns (H, W, 3) uint8.
    """
    far = depth <= 0
    image = rgb.astype(np.float32)
    image[far] += sky_view(weather.sky, rotation, focal, far) - weather.haze.astype(np.float32)
    veil = np.where(far, min(weather.fog * 25, 0.9), 1 - np.exp(-weather.fog * depth)).astype(np.float32)[..., None]
    image += (weather.haze.astype(np.float32) - image) * veil
    if weather.fall:
        image = _precipitation(image, weather, rng)
    if weather.blur:
        image = cv2.GaussianBlur(image, (0, 0), weather.blur * rgb.shape[0] / 256)
    return _sensor(image, weather, rng)


def sky_view(sky: np.ndarray, rotation: np.ndarray, focal: float, mask: np.ndarray) -> np.ndarray:
    """Look the pixels of `mask` up in the sky. Returns (N, 3) float32."""
    height, width = mask.shape
    y, x = np.nonzero(mask)
    if not len(x):
        return np.zeros((0, 3), np.float32)
    rays = np.column_stack([(x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal, np.ones(len(x))]) @ rotation.T
    azimuth = np.arctan2(rays[:, 1], rays[:, 0]) / (2 * np.pi) % 1 * 1023
    elevation = np.arctan2(rays[:, 2], np.hypot(rays[:, 0], rays[:, 1]))
    row = np.clip((1 - elevation / (np.pi / 2)) * 255, 0, 255)
    return sky[row.astype(int), azimuth.astype(int)]


def _precipitation(image: np.ndarray, weather: Weather, rng: Rng) -> np.ndarray:
    """Slanted bright streaks, or soft flakes."""
    height, width = image.shape[:2]
    layer = np.zeros((height, width), np.float32)
    scale = height / 256
    count = int(weather.density * (220 if weather.fall == "rain" else 260))
    for x, y, size in zip(rng.integers(0, width, count), rng.integers(0, height, count), rng.uniform(0.4, 1, count)):
        if weather.fall == "rain":
            end = (int(x + 2 * scale), int(y + 14 * size * scale))
            cv2.line(layer, (int(x), int(y)), end, float(0.4 * size), 1, cv2.LINE_AA)
        else:
            cv2.circle(layer, (int(x), int(y)), max(1, round(1.6 * size * scale)), float(0.8 * size), -1, cv2.LINE_AA)
    layer = cv2.GaussianBlur(layer, (0, 0), 0.7 * scale)[..., None]
    return image + (235 - image) * np.clip(layer, 0, 1)


def _sensor(image: np.ndarray, weather: Weather, rng: Rng) -> np.ndarray:
    """White balance, vignette, gamma, noise."""
    height, width = image.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    shade = (1 - weather.vignette * (x**2 + y**2) / 2).astype(np.float32)[..., None]
    image = np.clip(image * weather.gains.astype(np.float32) * shade / 255, 0, 1) ** np.float32(weather.gamma) * 255
    image += rng.standard_normal(image.shape, np.float32) * np.float32(weather.noise)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
