"""Every image is accounted for: what was sent against what the node says became of it."""

from dataclasses import astuple, dataclass, fields

from panoptic_ros.node import Counts


@dataclass(frozen=True, slots=True)
class Account:
    """A stretch of time that begins and ends with a node at rest. damaged: of `sent`. seen: answers that the planner got.

    images: label images that it got.
    """

    sent: int = 0
    damaged: int = 0
    seen: int = 0
    received: int = 0
    answered: int = 0
    dropped_newer: int = 0
    dropped_bad: int = 0
    images: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(*map(sum, zip(astuple(self), astuple(other))))

    def faults(self) -> list[str]:
        """A sentence for each kind of image that is missing."""
        became = self.answered + self.dropped_newer + self.dropped_bad
        checks = {
            f"{self.sent} images were sent, but {self.received} counted as received": self.sent == self.received,
            f"{self.damaged} damaged images were sent, but {self.dropped_bad} counted as bad": self.damaged >= self.dropped_bad,
            f"{self.answered} images were counted as answered, but {self.seen} answers came": self.answered == self.seen,
            f"{self.received} images were received, but {became} answered or dropped": self.received == became,
            f"{self.seen} answers came, but {self.images} label images": self.seen == self.images,
        }
        return [text for text, good in checks.items() if not good]


class Ledger:
    """The account that is open, and `total`, the sum of those that are closed. outside: images sent that are in none."""

    def __init__(self) -> None:
        self.total = Account()
        self.outside = 0
        self._sent = self._damaged = self._seen = self._images = 0
        self._base: Counts | None = None

    def open(self, counts: Counts) -> None:
        """counts: what the node says, at rest."""
        self._base = counts
        self._sent = self._damaged = self._seen = self._images = 0

    def abandon(self) -> None:
        """For what nobody can account for: images on their way to a node, or from a camera, that is killed or not met yet."""
        self._base = None

    def note_sent(self, damaged: bool) -> None:
        self._sent += 1
        self._damaged += damaged

    def note_answer(self) -> None:
        self._seen += 1

    def note_image(self) -> None:
        self._images += 1

    def close(self, counts: Counts) -> Account:
        """The account up to here, the next one is open; nothing if it was abandoned."""
        account = Account()
        if self._base is not None:
            became = {
                f.name: getattr(counts, f.name) - getattr(self._base, f.name) for f in fields(Counts) if f.name != "pending"
            }
            account = Account(self._sent, self._damaged, self._seen, **became, images=self._images)
            self.total += account
        else:
            self.outside += self._sent
        self.open(counts)
        return account
