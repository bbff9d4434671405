"""Procedural textures, (n, n, 3) uint8 RGB, tileable, drawn from a generator."""

import cv2
import numpy as np

Rng = np.random.Generator


def noise(rng: Rng, n: int, cells: tuple[int, ...] = (4, 16, 64), fall: float = 0.6) -> np.ndarray:
    """(n, n) float32 in -1..1: octaves of smooth noise that wrap around. n is a multiple of each of `cells`."""
    total, weight, amplitude = np.zeros((n, n), np.float32), 0.0, 1.0
    for k in cells:
        grid = np.pad(rng.random((k, k), np.float32) * 2 - 1, 1, mode="wrap")
        step = n // k
        up = cv2.resize(grid, ((k + 2) * step, (k + 2) * step), interpolation=cv2.INTER_LINEAR)
        total += amplitude * up[step : step + n, step : step + n]
        weight += amplitude
        amplitude *= fall
    return total / weight


def tinted(base: np.ndarray, color: tuple[float, ...] | np.ndarray) -> np.ndarray:
    """base: (n, n) float brightness around 1; color: RGB 0..255."""
    return np.clip(base[..., None] * np.asarray(color, np.float32), 0, 255).astype(np.uint8)


def grainy(rng: Rng, color: tuple[float, ...], strength: float, n: int = 256) -> np.ndarray:
    """Asphalt, grass, plaster, leaves: noise around one colour."""
    return tinted(1 + strength * noise(rng, n, (4, 16, 64, 128), 0.9) * 1.8, color)


def road(rng: Rng, lanes: int, parking_m: float, width_m: float, n: int = 512) -> np.ndarray:
    """Asphalt over the whole width (columns) and 12 m of length (rows) with its lane markings."""
    grey = rng.uniform(55, 115)
    tint = np.array([grey, grey, grey]) + rng.uniform(-8, 8, 3)
    image = tinted(1 + 0.25 * noise(rng, n, (4, 16, 128), 0.8), tint)
    for _ in range(int(rng.integers(0, 5))):
        x, y, w, h = rng.integers(0, n, 2).tolist() + rng.integers(20, 140, 2).tolist()
        patch = image[y : y + h, x : x + w]
        patch[:] = (patch * rng.uniform(0.7, 1.15)).clip(0, 255).astype(np.uint8)
    paint = np.array([225, 225, 215]) if rng.random() < 0.8 else np.array([225, 190, 90])
    px = n / width_m

    def line(t_m: float, dashed: bool) -> None:
        x = int((t_m + width_m / 2) * px)
        half = max(2, int(0.08 * px))
        rows = slice(0, n // 2) if dashed else slice(0, n)
        area = image[rows, max(x - half, 0) : x + half]
        worn = (noise(rng, n, (16, 64))[rows, max(x - half, 0) : x + half] > -0.35)[..., None]
        area[:] = np.where(worn, paint, area)

    lane = (width_m - 2 * parking_m) / lanes
    for k in range(lanes + 1):
        edge = k in (0, lanes)
        middle = 2 * k == lanes
        if not edge or rng.random() < 0.8:
            line(-width_m / 2 + parking_m + k * lane, dashed=not edge and not (middle and rng.random() < 0.5))
    return image


def paving(rng: Rng, n: int = 256) -> np.ndarray:
    """Slabs with joints."""
    tone = rng.uniform(110, 185) * np.array([1, rng.uniform(0.93, 1), rng.uniform(0.85, 1)])
    rows = int(rng.choice([4, 8]))
    cells = np.repeat(np.repeat(rng.uniform(0.88, 1.1, (rows, rows)), n // rows, 0), n // rows, 1)
    base = cells * (1 + 0.15 * noise(rng, n))
    base[:: n // rows] *= 0.7
    base[:, :: n // rows] *= 0.7
    return tinted(base.astype(np.float32), tone)


def bricks(rng: Rng, color: tuple[float, ...], rows: int = 16, n: int = 256) -> np.ndarray:
    """Courses of bricks, every other one shifted by half a brick."""
    height, width = n // rows, 2 * n // rows
    image = np.empty((n, n), np.float32)
    for r in range(rows):
        tone = np.repeat(rng.uniform(0.75, 1.15, rows // 2), width)
        tone[::width] = 1.35
        tone[1::width] = 1.35
        image[r * height : (r + 1) * height] = np.roll(tone, (r % 2) * width // 2)
        image[r * height : r * height + 2] = 1.35
    return tinted(image * (1 + 0.2 * noise(rng, n, (4, 64))), color)


def planks(rng: Rng, color: tuple[float, ...], n: int = 256) -> np.ndarray:
    """Vertical boards with dark gaps."""
    count = int(rng.choice([8, 16]))
    tone = np.repeat(rng.uniform(0.7, 1.15, count), n // count)
    tone[:: n // count] = 0.25
    tone[1 :: n // count] = 0.3
    return tinted(np.tile(tone.astype(np.float32), (n, 1)) * (1 + 0.2 * noise(rng, n, (8, 64))), color)


def facade(rng: Rng, n: int = 512) -> np.ndarray:
    """Four storeys by four bays of windows in a wall of plaster, brick or concrete."""
    color = wall_color(rng)
    image = bricks(rng, color, 32, n) if rng.random() < 0.35 else grainy(rng, color, 0.12, n)
    cell = n // 4
    width, height = int(cell * rng.uniform(0.3, 0.75)), int(cell * rng.uniform(0.4, 0.75))
    glass = np.array([rng.uniform(25, 90)] * 3) * np.array([0.85, 1, 1.15])
    frame = wall_color(rng) if rng.random() < 0.3 else np.array([rng.uniform(120, 245)] * 3)
    band = rng.random() < 0.4
    for row in range(4):
        if band:
            image[row * cell : row * cell + cell // 16] = frame
        for column in range(4):
            y, x = row * cell + (cell - height) // 2, column * cell + (cell - width) // 2
            _window(rng, image[y : y + height, x : x + width], glass, frame)
    return image


def wall_color(rng: Rng) -> np.ndarray:
    """RGB of a plausible house wall."""
    palette = [
        (190, 170, 140),
        (150, 80, 60),
        (205, 200, 190),
        (120, 115, 110),
        (200, 150, 110),
        (160, 165, 175),
        (215, 190, 120),
        (140, 105, 85),
        (175, 130, 130),
        (90, 90, 95),
        (150, 165, 140),
    ]
    return np.array(palette[int(rng.integers(len(palette)))]) * rng.uniform(0.75, 1.15) + rng.uniform(-12, 12, 3)


def _window(rng: Rng, area: np.ndarray, glass: np.ndarray, frame: np.ndarray) -> None:
    """Paint one window into `area` (h, w, 3)."""
    height, width = area.shape[:2]
    shade = np.linspace(1.3, 0.8, height)[:, None, None] * rng.uniform(0.6, 1.6)
    area[:] = np.clip(glass * shade, 0, 255)
    if rng.random() < 0.35:
        area[: int(height * rng.uniform(0.2, 0.9))] = rng.uniform(110, 220)
    rim = max(2, width // 14)
    area[:rim] = area[-rim:] = frame
    area[:, :rim] = area[:, -rim:] = frame
    if rng.random() < 0.7:
        area[:, width // 2 - rim // 2 : width // 2 + rim // 2 + 1] = frame


def sky(rng: Rng, zenith: np.ndarray, horizon: np.ndarray, cover: float) -> np.ndarray:
    """(256, 1024, 3) float32: azimuth over the columns, elevation 90 (row 0) to 0 degrees; `cover` 0..1 of clouds."""
    up = np.linspace(1, 0, 256, dtype=np.float32)[:, None, None]
    clear = horizon + (zenith - horizon) * up**0.6
    cloud = noise(rng, 1024, (4, 8, 16, 32, 64, 128), 0.65)[:256] * 2.2
    alpha = np.clip((cloud + cover * 1.6 - 0.8) * 1.6, 0, 1)[..., None] * min(1.0, cover * 1.5)
    white = horizon * 0.4 + 150 * (horizon.mean() / 210) + 25 * cloud[..., None]
    return np.clip(clear * (1 - alpha) + white * alpha, 0, 255).astype(np.float32)
