"""Maps of ids as maps of small indices."""

import numpy as np


def indexed(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of ids (H,W), ascending, and for each pixel the index of its value, (H,W).

    What numpy.unique gives, but several times faster where neighbours are alike: only the first pixel of each run is sorted.
    """
    flat = ids.ravel()
    first = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    values, index = np.unique(flat[first], return_inverse=True)
    return values, np.repeat(index, np.diff(first, append=flat.size)).reshape(ids.shape)
