"""What can be checked of identities from outside: a number means one object, for the life of the node."""

from collections.abc import Iterable


class Identities:
    """Watches the answers of one life of a node, in order; `faults` has a sentence for each number that was used twice.

    max_lost_s: unseen for longer, by the stamps of the images, an object is forgotten, and its number with it. So is every number
    when the stamps go back.
    """

    def __init__(self, max_lost_s: float) -> None:
        self.faults: list[str] = []
        self._max_lost_ns = round(max_lost_s * 1e9)
        self._stamp_ns: int | None = None
        self._newest = 0
        self._category: dict[int, int] = {}
        self._seen_ns: dict[int, int] = {}

    def __len__(self) -> int:
        """How many there have been."""
        return len(self._category)

    def observe(self, stamp_ns: int, things: Iterable[tuple[int, int]]) -> None:
        """things: category and number of each confirmed thing of an answer."""
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            self._seen_ns.clear()
        self._stamp_ns = stamp_ns
        newest = self._newest
        current: set[int] = set()
        for category, number in things:
            if number in current:
                self.faults.append(f"number {number} is two things in one image")
            elif number in self._category:
                self._check_old(category, number, stamp_ns)
            elif number <= newest:
                self.faults.append(f"number {number} is new after {newest}")
            current.add(number)
            self._category.setdefault(number, category)
            self._seen_ns[number] = stamp_ns
            self._newest = max(self._newest, number)

    def _check_old(self, category: int, number: int, stamp_ns: int) -> None:
        if category != self._category[number]:
            self.faults.append(f"number {number} was of category {self._category[number]} and is of {category}")
        seen_ns = self._seen_ns.get(number)
        if seen_ns is None:
            self.faults.append(f"number {number} is back after the clock went back")
        elif stamp_ns - seen_ns > self._max_lost_ns:
            self.faults.append(f"number {number} is back after {(stamp_ns - seen_ns) / 1e9:.2f} s")
