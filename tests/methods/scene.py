"""Hand-drawn scenes: what a method's targets are made of and what its decoder has to give back."""

from dataclasses import dataclass

import numpy as np

from panoptic_ros.core import Label

LABELS = (
    Label(7, "road", False, (128, 64, 128)),
    Label(26, "car", True, (0, 0, 142)),
    Label(23, "sky", False, (70, 130, 180)),
    Label(24, "person", True, (220, 20, 60)),
)
"""Stuff and things in mixed order, ids neither in order nor contiguous."""

ROAD, CAR, SKY, PERSON = range(4)
THINGS = tuple(label.thing for label in LABELS)
_STUFF = {"r": ROAD, "s": SKY}


@dataclass(frozen=True)
class Scene:
    """semantic: (h,w) int64 class index, -1 void. instance: (h,w) int64 from 0, -1 none. One cell each of the decoding grid.

    confidence: (instances,), how sure an ideal network is of each object.
    """

    semantic: np.ndarray
    instance: np.ndarray
    confidence: np.ndarray

    def segments(self) -> list[tuple[int, bytes]]:
        """(`Label.id`, mask) of each segment, sorted."""
        stuff = [(LABELS[k].id, self.semantic == k) for k, thing in enumerate(THINGS) if not thing]
        masks = (self.instance == number for number in np.unique(self.instance[self.instance >= 0]))
        things = [(LABELS[int(self.semantic[mask][0])].id, mask) for mask in masks]
        return sorted((category, mask.tobytes()) for category, mask in stuff + things if mask.any())

    def keep(self, count: int) -> "Scene":
        """Only the `count` objects of highest confidence; what the others covered is void."""
        dropped = np.isin(self.instance, np.argsort(-self.confidence)[count:])
        return Scene(np.where(dropped, -1, self.semantic), np.where(dropped, -1, self.instance), self.confidence)


def draw(picture: str) -> Scene:
    """A letter a cell: `.` void, `r` road, `s` sky, A..M a car each, N..Z a person each."""
    rows = picture.split()
    letters = np.array([list(row) for row in rows])
    objects = sorted({letter for letter in letters.flat if letter.isupper()})
    semantic, instance = np.full(letters.shape, -1), np.full(letters.shape, -1)
    for letter, k in _STUFF.items():
        semantic[letters == letter] = k
    for number, letter in enumerate(objects):
        semantic[letters == letter] = CAR if letter <= "M" else PERSON
        instance[letters == letter] = number
    return Scene(semantic, instance, np.full(len(objects), 0.99))


def grid(rows: int, columns: int, gap: int) -> Scene:
    """rows x columns cars and persons in turn, 3x3 cells each, `gap` cells of road between them; the later the surer."""
    pitch = 3 + gap
    semantic = np.full((rows * pitch, columns * pitch), ROAD)
    instance = np.full(semantic.shape, -1)
    for number in range(rows * columns):
        top, left = (pitch * part for part in divmod(number, columns))
        semantic[top : top + 3, left : left + 3] = CAR if number % 2 else PERSON
        instance[top : top + 3, left : left + 3] = number
    return Scene(semantic, instance, np.linspace(0.7, 0.99, rows * columns))


def found_segments(ids: np.ndarray, category: np.ndarray) -> list[tuple[int, bytes]]:
    """(`Label.id`, mask) of each slot with pixels, sorted. ids: (h,w) uint8, k+1 = slot k. category: (K,)."""
    return sorted((int(category[slot - 1]), (ids == slot).tobytes()) for slot in np.unique(ids[ids > 0]).tolist())


PICTURE = draw(
    """
    ssssssssssssssssss
    ssAAABBBssssssssss
    rrAAABBBrrrrNNNrrr
    rrAAABBBrrrrNNNrrr
    rrrrrrrrrrrrNNNrrr
    rrrrrrrrrrrrrrrrrr
    """
)


LETTERS = """
    ssssssssssssssss
    ssAAAAAABBBBBBss
    ssAAAAAABBBBBBss
    ssAAAAAABBBBBBss
    rrAAAAAABBBBBBrr
    rrrrrNNNrrrrrrrr
    rrrrrNNNrrr.....
    rrrrrNNNrrr.....
    """
MIXED = draw(LETTERS)
PICTURES = {
    "things and stuff": MIXED,
    "no things": draw(LETTERS.translate(str.maketrans("ABN", "rrr"))),
    "no stuff": draw(LETTERS.translate(str.maketrans("sr.", "ABN"))),
    "all void": draw(LETTERS.translate(str.maketrans("srABN", "....."))),
}
"""Scenes that losses must be finite for."""
