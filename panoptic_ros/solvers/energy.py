"""What a labelling costs."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def energy(
    labels: np.ndarray, classes: np.ndarray, class_cost: np.ndarray, edge_cost: np.ndarray, distances: np.ndarray
) -> float:
    """Eq. 2: the class costs of all pixels and the costs of the edges between clusters."""
    height, width = labels.shape
    total = 0.0
    for i in range(height):
        for j in range(width):
            total += class_cost[classes[labels[i, j]], i, j]
        for d in range(len(distances)):
            step = distances[d]
            for j in range(width - step):
                total += edge_cost[2 * d, i, j] if labels[i, j] != labels[i, j + step] else 0
            if i + step < height:
                for j in range(width):
                    total += edge_cost[2 * d + 1, i, j] if labels[i, j] != labels[i + step, j] else 0
    return total
