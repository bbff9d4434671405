"""What training through the cut is worth: `python -m training.methods.amwc.ablate [--init CHECKPOINT ...] [--steps N]`.

All rows of a seed start from the same pre-trained weights, which are the first row; the second is pre-trained for as many steps
again as the others have. For each seed `python -m training.train amwc_mnv2_street seed=N --out runs/amwc_mnv2_N`, then --init
with all of them; or one for all.
"""

import sys
from pathlib import Path

from training.ablation import Ablation, decoder_defaults
from training.methods.amwc.decode import DecoderSettings

STAGE = ["stages.0.size=[256,512]", "stages.0.crop=[0.6,1.0]", "warmup=20"]
"""That of the recipe."""

VARIANTS = {
    "pre-training alone": [*STAGE, "stages.0.steps=0"],
    "pre-training continued": [*STAGE, "settings.end_to_end.enabled=false"],
    "end to end": STAGE,
    "separate losses": [*STAGE, "settings.end_to_end.separate=true"],
}
"""Name -> what differs from the recipe amwc_mnv2_street_cut."""

ABLATION = Ablation(
    command="training.methods.amwc.ablate",
    recipe="amwc_mnv2_street_cut",
    variants=VARIANTS,
    decoder=decoder_defaults(DecoderSettings(min_thing_area=2, min_stuff_area=20)),
    paper_pq={"pre-training alone": 58.5, "end to end": 62.2, "separate losses": 57.8},
    out=Path("out/amwc_ablation"),
    lr=1e-3,
    steps=100,
    seeds=(0, 1, 2),
    init="runs/amwc_mnv2/last.pt",
)


def main(arguments: list[str] | None = None) -> int:
    return ABLATION.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
