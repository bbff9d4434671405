"""Faults injected into a running node, in rounds: `python -m tests.soak --minutes 60`."""

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from panoptic_ros import manifest
from tests.dds_client import free_domain
from tests.soak import report
from tests.soak.faults import FAULTS, Fault, node_dies
from tests.soak.records import Settings
from tests.soak.soak import Soak

_NAMES = tuple(fault.__name__ for fault in FAULTS)


def main() -> int:
    """1 if anything was found that must not be."""
    args = _arguments().parse_args()
    chosen = [fault for fault in FAULTS if fault.__name__ in (args.only or _NAMES)]
    args.log.parent.mkdir(parents=True, exist_ok=True)
    args.log.write_text("")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # with the other processes
    node = tuple(shlex.split(args.node))
    settings = Settings(args.rate, args.hold, args.recovery, args.latency, args.memory_mib << 20, args.seed, node)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(_copied(args.model, Path(folder)), args.domain, args.log, settings)
        try:
            soak.start()
            number = 0
            while number == 0 or time.monotonic() - soak.begin_s < args.minutes * 60:
                _round(soak, _of_round(chosen, number, soak.age_s, args.life * 60))
                number += 1
        finally:
            soak.finish()
    command = [word for word in sys.argv[1:] if word not in ("--note", args.note, f"--note={args.note}")]
    report.write(args.report, soak, command, args.note)
    print(args.report.read_text())
    return 1 if soak.faults else 0


def _of_round(chosen: Sequence[Fault], number: int, age_s: float, life_s: float) -> list[Fault]:
    """All of them; but after the first round a node is not killed before life_s, so that its memory is watched for long."""
    return [fault for fault in chosen if fault is not node_dies or number == 0 or age_s >= life_s]


def _round(soak: Soak, faults: Sequence[Fault]) -> None:
    """Each fault once, in random order. A life that has seen the whole round is weighed."""
    life = soak.life
    for fault in soak.random.sample(faults, len(faults)):
        soak.inject(fault)
        last = soak.episodes[-1]
        print(f"{time.monotonic() - soak.begin_s:6.0f} s  {last.fault}: {last.recovery_s * 1e3:.0f} ms", flush=True)
    if soak.life is life:
        soak.weigh()


def _copied(name: str, folder: Path) -> manifest.Manifest:
    """The model in a folder of ours, whose files may vanish."""
    model = manifest.load(name)
    shutil.copytree(model.onnx.parent, folder / "model")
    return manifest.load(folder / "model")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="a round that has begun is ended (default: %(default)s)")
    parser.add_argument(
        "--report", type=Path, default=Path("out/soak.md"), help="Markdown; its picture goes beside it (default: %(default)s)"
    )
    parser.add_argument("--log", type=Path, default=Path("out/soak.log"), help="what the node prints (default: %(default)s)")
    parser.add_argument("--node", default="", metavar="ARGS", help="more for the node, such as --node='--precision int8'")
    parser.add_argument("--model", default="hle_mnv2", help="name of a model, or its folder (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, metavar="HZ", help="of the camera (default: %(default)s)")
    parser.add_argument("--hold", type=float, default=4.0, metavar="S", help="how long a fault lasts (default: %(default)s)")
    parser.add_argument("--recovery", type=float, default=1.0, metavar="S", help="allowed after a fault (default: %(default)s)")
    parser.add_argument(
        "--latency", type=float, default=400.0, metavar="MS", help="allowed for the p95 of each fault (default: %(default)s)"
    )
    parser.add_argument(
        "--life", type=float, default=55.0, metavar="MINUTES", help="of a node after the first round's (default: %(default)s)"
    )
    parser.add_argument("--note", default="", metavar="TEXT", help="a paragraph of the report, such as what else ran")
    parser.add_argument("--memory-mib", type=int, default=4096, help="that memory pressure takes at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the faults (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=_NAMES, metavar="FAULT", help=f"of {', '.join(_NAMES)} (default: all)")
    parser.add_argument("--domain", type=int, default=free_domain(), help="DDS domain (default: a random one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
