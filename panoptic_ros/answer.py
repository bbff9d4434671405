"""What becomes of a graph's outputs: they are the slots, or a solver on the CPU makes slots of them."""

import importlib.util
import inspect
from collections.abc import Callable

from panoptic_ros.core import PanopticError, Slots
from panoptic_ros.manifest import Manifest

Finish = Callable[..., Slots]
"""From a graph's outputs to slots; the outputs have the names of its parameters. `Slots` itself where the graph decodes."""


def finish_of(manifest: Manifest) -> Finish:
    """Raises PanopticError if the manifest's solver has settings that are none, or numba is missing."""
    if not manifest.solver:
        return Slots
    if not importlib.util.find_spec("numba"):
        raise PanopticError(f"model {manifest.model} has a solver, which needs numba: run `pip install numba`")
    from panoptic_ros.solvers.segments import Solver, settings_of  # numba, which other models need not have

    return Solver(manifest.labels, settings_of(manifest.solver))


def outputs_of(finish: Finish) -> tuple[str, ...]:
    """The names of the outputs that a graph must have."""
    return tuple(inspect.signature(finish).parameters)
