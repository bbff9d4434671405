"""What levelness, mask loss and full supervision are worth: `python -m training.methods.dense.ablate [--steps N] [--seeds 0 1]`.

As in the paper, levelness is judged without the mask loss (supplement, section 2): the second row against the third.
"""

import sys
from pathlib import Path

from training.ablation import Ablation, decoder_defaults
from training.methods.dense.decode import DecoderSettings

VARIANTS = {
    "full": [],
    "without mask loss": ["settings.loss.mask=0"],
    "without mask loss and levelness": ["settings.loss.mask=0", "settings.loss.levelness=0", "settings.decoder.levelness=false"],
    "weakly supervised": ["settings.loss.weak=true"],
}
"""Name -> what differs from the recipe dense_mnv2_street."""

ABLATION = Ablation(
    command="training.methods.dense.ablate",
    recipe="dense_mnv2_street",
    variants=VARIANTS,
    decoder=decoder_defaults(DecoderSettings(score_threshold=0.1, candidates=300)),  # a short training makes no detector sure
    paper_pq={"full": 58.8, "weakly supervised": 55.7},
    out=Path("out/dense_ablation"),
    lr=6e-3,
)


def main(arguments: list[str] | None = None) -> int:
    return ABLATION.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
