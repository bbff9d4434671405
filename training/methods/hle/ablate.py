"""Table 6 of the paper at small scale: `python -m training.methods.hle.ablate --out out/ablation [--steps N] [--seeds 0 1]`."""

import sys
from pathlib import Path

from training.ablation import Ablation, decoder_defaults
from training.methods.hle.decode import DecoderSettings

LOVASZ = ["settings.loss.instance=lovasz", "settings.loss.semantic=lovasz", "settings.loss.semantic_cross_entropy=0"]

VARIANTS = {
    # eq. 15 stays on: eq. 1-2 have class means of their own, which no decoder could use
    "associative embedding": ["settings.loss.instance=associative", "settings.loss.semantic=associative",
                              "settings.loss.semantic_cross_entropy=0", "settings.network.thomson=false"],
    "cross entropy": ["settings.loss.instance=cross_entropy", "settings.loss.semantic=cross_entropy",
                      "settings.loss.semantic_cross_entropy=0"],
    "Lovász, split space": [*LOVASZ, "settings.network.split=true"],
    "Lovász, separate semantic branch": [*LOVASZ, "settings.loss.semantic=cross_entropy",
                                         "settings.network.semantic_branch=true"],
    "Lovász, no VQ means": [*LOVASZ, "settings.loss.vq=0"],
    "Lovász, no Thomson": [*LOVASZ, "settings.network.thomson=false"],
    "Lovász, hierarchical (the paper's)": LOVASZ,
    "shipped: plus cross entropy on psi": [],
    "hinge on the exponent, plus cross entropy on psi": ["settings.loss.instance=lovasz_hinge"],
}  # fmt: skip
"""Name -> what differs from the recipe hle_mnv2_wide_street; the first seven in the order of table 6."""

PAPER_PQ = dict(zip(VARIANTS, (38.8, 45.0, 50.2, 57.0, 57.0, 58.6, 59.1)))

ABLATION = Ablation(
    command="training.methods.hle.ablate",
    recipe="hle_mnv2_wide_street",
    variants=VARIANTS,
    decoder=decoder_defaults(DecoderSettings()),
    paper_pq=PAPER_PQ,
    out=Path("out/ablation"),
    lr=1e-2,
)


def main(arguments: list[str] | None = None) -> int:
    return ABLATION.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
