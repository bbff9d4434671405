"""The figures of `bench` as SVG, which needs no library."""

from html import escape

from panoptic_ros.commands.bench_report import title

COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
WIDTH, LEFT, BAR, GAP, TOP, HEIGHT = 1000, 340, 18, 14, 70, 300
"""Pixels; LEFT of the bars are their names, HEIGHT is that of the curves."""

Rows = dict[str, dict[str, float]]
"""What was measured -> part -> milliseconds."""


def plots(report: dict) -> dict[str, str]:
    """Name of the file -> SVG: the stages of the pipeline at p50, end to end, its percentiles, and memory over input sizes."""
    stages = {title(run): {name: times["p50"] for name, times in run["stages"].items()} for run in report["runs"]}
    parts = ("p50", "p95", "p99", "max")
    percentiles = {title(run): {part: run["pipeline_ms"][part] for part in parts} for run in report["runs"]}
    memory: dict[str, list[tuple[float, float]]] = {}
    for run in report["runs"]:
        height, width = run["size"]
        name = title(run).replace(f" {height}x{width}", "")
        memory.setdefault(name, []).append((height * width / 1e6, run["memory_mib"]["peak"]))
    machine = f"{report['machine']['cpu']}, {report['machine']['cores']} cores"
    return {
        "stages.svg": bars(f"Stages of the pipeline, p50 in ms, on {machine}", stages, stacked=True),
        "percentiles.svg": bars(f"Pipeline, ms, on {machine}", percentiles, stacked=False),
        "memory.svg": curves("Memory of the process at most, MiB, over millions of pixels", memory),
    }


def bars(heading: str, rows: Rows, stacked: bool) -> str:
    """A bar for each row, its parts end to end if stacked, else one below the other."""
    most = max(sum(parts.values()) if stacked else max(parts.values()) for parts in rows.values())
    scale = (WIDTH - LEFT - 60) / (most or 1)
    shapes = [_text(10, 24, heading, size=15), *_legend(list(next(iter(rows.values()))))]
    y = TOP
    for name, parts in rows.items():
        shapes.append(_text(10, y + 13, name))
        x = LEFT
        for color, value in zip(COLORS, parts.values()):
            width = value * scale
            shapes.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{color}"/>')
            if stacked:
                x += width
            else:
                shapes.append(_text(LEFT + width + 4, y + 13, f"{value:.1f}"))
                y += BAR
        if stacked:
            shapes.append(_text(x + 4, y + 13, f"{sum(parts.values()):.1f}"))
            y += BAR
        y += GAP
    return _svg(shapes, y)


def curves(heading: str, series: dict[str, list[tuple[float, float]]]) -> str:
    """A line for each name through its points (x, y), both axes from 0; each point with its value."""
    points = [point for line in series.values() for point in line]
    across = (WIDTH - LEFT - 60) / (max(x for x, _ in points) or 1)
    up = HEIGHT / (max(y for _, y in points) or 1)
    bottom = TOP + HEIGHT
    shapes = [
        _text(10, 24, heading, size=15), _line([(LEFT, TOP), (LEFT, bottom), (WIDTH - 60, bottom)], "black"),
        *(_text(LEFT + x * across - 8, bottom + 18, f"{x:.2g}") for x in sorted({x for x, _ in points})),
    ]  # fmt: skip
    for number, (name, line) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        drawn = [(LEFT + x * across, bottom - y * up) for x, y in sorted(line)]
        shapes += [
            _text(34, TOP + 13 + 20 * number, name),
            _line([(10, TOP + 8 + 20 * number), (28, TOP + 8 + 20 * number)], color),
        ]
        shapes.append(_line(drawn, color))
        for (x, y), (_, value) in zip(drawn, sorted(line)):
            shapes += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>', _text(x - 12, y - 8, f"{value:.0f}")]
    return _svg(shapes, bottom + 30)


def _legend(names: list[str]) -> list[str]:
    shapes = []
    for number, (color, name) in enumerate(zip(COLORS, names)):
        x = LEFT + number * 105
        shapes += [f'<rect x="{x}" y="40" width="12" height="12" fill="{color}"/>', _text(x + 17, 51, name)]
    return shapes


def _line(points: list[tuple[float, float]], color: str) -> str:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{corners}" fill="none" stroke="{color}" stroke-width="2"/>'


def _svg(shapes: list[str], height: int) -> str:
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}">{escape(text)}</text>'
