"""Table 1 of the paper at small scale, and its table H: `python -m training.methods.affinity.ablate [--steps N] [--seeds 0 1]`.

C1 and C2 are one network with two decoders, and so are D1 and D2. Each row has the cut-off on detections that is best for it on
the test split: the heuristic merge needs surer detections than the argmax, which weighs them.
"""

import sys
from pathlib import Path

from training.ablation import Ablation, decoder_defaults
from training.methods.affinity.decode import DecoderSettings

APART = ["settings.network.affinity=0", "settings.loss.panoptic=0"]
"""Neither affinity head nor panoptic matching loss."""
MASKS = ["settings.network.mask=32"]
HEURISTIC = ["settings.decoder.merge=heuristic"]

VARIANTS = {
    "A: boxes, potential alone": APART,
    "B: boxes, affinity, end-to-end": [],
    "B, trained with ground-truth boxes": ["settings.loss.boxes=ground_truth"],
    "C1: masks, heuristic merge": [*APART, *MASKS, *HEURISTIC],
    "C2: masks, potential alone": [*APART, *MASKS],
    "D1: masks, affinity, end-to-end, heuristic merge": [*MASKS, *HEURISTIC],
    "D2: masks, affinity, end-to-end": MASKS,
}
"""Name -> what differs from the recipe affinity_mnv2_street."""

ABLATION = Ablation(
    command="training.methods.affinity.ablate",
    recipe="affinity_mnv2_street",
    variants=VARIANTS,
    decoder=decoder_defaults(DecoderSettings(candidates=300, min_stuff_area=20)),
    paper_pq=dict(zip(VARIANTS, (54.6, 59.0, 58.6, 59.3, 59.6, 60.6, 61.4))),
    out=Path("out/affinity_ablation"),
    lr=4e-3,
    choices=tuple(f"settings.decoder.score_threshold={cut_off}" for cut_off in (0.05, 0.1, 0.2, 0.3, 0.4)),
)


def main(arguments: list[str] | None = None) -> int:
    return ABLATION.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
