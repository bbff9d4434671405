"""The reports of `bench` for people: one of them, or two compared."""

from panoptic_ros.core import PanopticError

TIMES = {"network only": "network_only_ms", "engine": "engine_ms", "pipeline": "pipeline_ms"}
HARDWARE = ("cpu", "cores", "memory_gib")
"""What makes a machine another one, for which times cannot be compared."""


def title(report: dict) -> str:
    """What was measured, such as `hle_mnv2 256x512 openvino int8`."""
    engine, (height, width) = report["engine"], report["size"]
    return f"{report['model']} {height}x{width} {engine['backend']} {engine['precision']}"


def table(report: dict) -> str:
    """A block for each combination, a line for each if there are several, and what could not run."""
    machine, runs = report["machine"], report["runs"]
    lines = [", ".join(f"{key} {value}" for key, value in machine.items())]
    lines += [_block(run) for run in runs]
    lines += [_overview(runs)] if len(runs) > 1 else []
    return "\n".join(lines + refusals(report))


def refusals(report: dict) -> list[str]:
    """What could not run, and why: a line for each reason."""
    names: dict[str, list[str]] = {}
    for name, reason in report["refused"].items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(each)}: {reason}" for reason, each in names.items()]


def _block(run: dict) -> str:
    engine = ", ".join(f"{key} {value}" for key, value in run["engine"].items())
    lines = [f"\n{title(run)}, frames {'x'.join(map(str, run['frame_size']))} from {run['input']}", engine]
    rows = {name: run[key] for name, key in TIMES.items()} | {f"  {stage}": times for stage, times in run["stages"].items()}
    rows |= {"processor time": run["cpu_ms"], "fixed work": run["fixed_work_ms"]}
    lines.append(f"{'ms':20}" + "".join(f"{name:>9}" for name in run["pipeline_ms"]))
    lines += [f"{name:20}" + "".join(f"{value:9.2f}" for value in row.values()) for name, row in rows.items()]
    lines += [f"{name:20}{ratio:9.2f}" for name, ratio in run["ratios"].items()]
    lines.append(f"{'memory MiB':20}{run['memory_mib']['current']:9.0f}, at most {run['memory_mib']['peak']:.0f}")
    for case in ("least", "most", "full") if "objects" in run else ():
        found = run["objects"][case]
        names = ("pipeline",) if case == "full" else ("engine", "pipeline")
        grown = {name: f" ({found[f'{name}_growth']:+.1%})" if case != "least" else "" for name in names}
        times = ", ".join(f"{name} {found[f'{name}_ms']:.2f} ms{growth}" for name, growth in grown.items())
        lines.append(f"{found['objects']} objects{' drawn' if case == 'full' else ''}: {times}")
    if "soak" in run:
        memory = run["soak"]
        lines.append(
            f"memory over {memory['frames']} frames: {memory['growth_mib']:+.1f} MiB, {memory['resident_mib'][-1]:.0f} at the end"
        )
    return "\n".join(lines)


def _overview(runs: list[dict]) -> str:
    """p99 / p50 is of the pipeline and, in brackets, of the fixed work: the machine's own."""
    columns = ("network", "engine", "pipeline", "p95", "p99", "max", "p99 / p50", "cpu", "MiB")
    width = max(len(title(run)) for run in runs)
    lines = ["", f"{'p50, ms':{width}}" + "".join(f"{column:>13}" if "/" in column else f"{column:>9}" for column in columns)]
    for run in runs:
        pipeline, fixed = run["pipeline_ms"], run["fixed_work_ms"]
        cells = [run[key]["p50"] for key in TIMES.values()] + [pipeline["p95"], pipeline["p99"], pipeline["max"]]
        tails = f"{pipeline['p99'] / pipeline['p50']:.2f} ({fixed['p99'] / fixed['p50']:.2f})"
        rest = f"{tails:>13}{run['cpu_ms']['mean']:9.1f}{run['memory_mib']['peak']:9.1f}"
        lines.append(f"{title(run):{width}}" + "".join(f"{cell:9.1f}" for cell in cells) + rest)
    return "\n".join(lines)


def comparison(before: dict, after: dict) -> str:
    """What became slower or larger from one report to the other, as ratios, the worst first.

    Raises PanopticError for reports of different machines, or of nothing that both have measured.
    """
    changed = _changes(before["machine"], after["machine"])
    other = [line for key, line in changed.items() if key in HARDWARE]
    if other:
        raise PanopticError(f"the reports are of different machines, whose times cannot be compared: {', '.join(other)}")
    left, right = ({_identity(run): run for run in report["runs"]} for report in (before, after))
    both = [key for key in left if key in right]
    if not both:
        raise PanopticError(f"nothing is in both reports: {', '.join(left)} in the first, {', '.join(right)} in the second")
    lines = list(changed.values())
    for name, key in ((name, key) for name in both for key in _changes(left[name]["engine"], right[name]["engine"]).values()):
        lines.append(f"{name}: {key}")
    rows = []
    for name in both:
        old, new = _figures(left[name]), _figures(right[name])
        rows += [(new[what] / old[what], old[what], new[what], name, what) for what in old if what in new and old[what]]
    rows.sort(key=lambda row: -row[0])
    lines.append(f"{'ratio':>7}{'before':>10}{'after':>10}")
    lines += [f"{ratio:7.3f}{old:10.2f}{new:10.2f}  {name}: {what}" for ratio, old, new, name, what in rows]
    lines += [f"only in the first: {name}" for name in left if name not in right]
    lines += [f"only in the second: {name}" for name in right if name not in left]
    return "\n".join(lines)


def _identity(run: dict) -> str:
    """Times of the same are comparable."""
    return f"{title(run)}, {run['engine'].get('threads', '-')} threads, {run['input']}"


def _changes(before: dict, after: dict) -> dict[str, str]:
    return {key: f"{key} {value} -> {after.get(key)}" for key, value in before.items() if after.get(key) != value}


def _figures(run: dict) -> dict[str, float]:
    """p50 and p99 of each time in ms, the mean processor time, and the memory in MiB."""
    times = {name: run[key] for name, key in TIMES.items()} | run["stages"]
    times |= {"fixed work": run["fixed_work_ms"]} if "fixed_work_ms" in run else {}  # reports of former versions have none
    figures = {f"{name} {part}": values[part] for name, values in times.items() for part in ("p50", "p99")}
    return figures | {"processor time": run["cpu_ms"]["mean"], "memory": run["memory_mib"]["peak"]}
