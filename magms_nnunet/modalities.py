"""Names of modalities and subsets of them: parse, format, enumerate.

A subset is a sorted tuple of channel indices, e.g. ``(0, 2)``. Names come from ``channel_names`` in dataset.json.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations

from magms_nnunet.errors import InputError, shorten

Subset = tuple[int, ...]

# Spellings of the four brain-tumour sequences (BraTS 2012-2024, MSD Task01, common clinical exports), lower case.
ALIASES: tuple[frozenset[str], ...] = (
    frozenset({"f", "flair", "t2f", "t2flair", "t2-flair", "t2_flair"}),
    frozenset({"t1", "t1w", "t1n", "t1-weighted"}),
    frozenset({"t1c", "t1ce", "t1gd", "t1post", "t1-gd", "t1_gd", "t1wce", "t1-ce"}),
    frozenset({"t2", "t2w", "t2-weighted"}),
)


@dataclass(frozen=True)
class Modalities:
    """The modalities of one dataset, in channel order.

    Attributes:
        names: one name per channel, all different.
    """

    names: tuple[str, ...]

    @classmethod
    def from_dataset_json(cls, dataset_json: dict) -> "Modalities":
        """Read ``channel_names`` (or the older ``modality``) of a dataset.json.

        nnU-Net takes a channel's normalisation from its name, so that names repeat: those get the channel's number,
        ``CT (0)``, ``CT (1)``. A ``+``, which joins the names of a subset, is spelt ``plus``.

        Raises:
            InputError: neither is there, the channels are not numbered 0 to M - 1, their names cannot be told apart, or
                a name cannot be part of a file's name.
        """
        channels = dataset_json.get("channel_names") or dataset_json.get("modality")
        if not isinstance(channels, dict) or sorted(channels) != sorted(str(i) for i in range(len(channels))):
            raise InputError(
                f"dataset.json: channel_names must number the modalities '0', '1', ...; got {shorten(channels)}"
            )
        given = [_without_plus(str(channels[str(i)])) for i in range(len(channels))]
        for name in given:
            if not name.isprintable() or name in ("", ".", "..") or set(name) & set("/\\"):
                raise InputError(
                    f"dataset.json: channel_names holds {shorten(name)}: a name must be printable, without / and \\"
                )
        count = Counter(given)
        names = tuple(_numbered(name, i) if count[name] > 1 else name for i, name in enumerate(given))
        if len(set(names)) < len(names):
            raise InputError(f"dataset.json: channel_names cannot be told apart: {shorten(channels)}; rename them")
        return cls(names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def complete(self) -> Subset:
        """The subset of all modalities."""
        return tuple(range(len(self)))

    def subsets(self) -> list[Subset]:
        """Return all 2^M - 1 non-empty subsets in the paper's order: by size, then by channel."""
        return [s for size in range(1, len(self) + 1) for s in combinations(range(len(self)), size)]

    def split(self, tokens: Sequence[str]) -> list[str]:
        """Split the tokens of a flag, each of which may join several names with commas: ``T1c,F``."""
        names = {name.lower() for name in self.names}  # which may hold commas themselves
        joined = [[token] if token.lower() in names else token.split(",") for token in tokens]
        return [name for names in joined for name in names if name]

    def parse(self, tokens: Sequence[str]) -> Subset:
        """Return the subset that a user names by names, unambiguous aliases (in any case) or channel indices.

        Raises:
            InputError: a token is unknown or ambiguous, a modality is given twice, or there is none.
        """
        if not tokens:
            raise InputError(f"--modalities is empty: name at least one of {self.listing()}")
        channels = [self._channel(token) for token in tokens]
        for position, channel in enumerate(channels):
            if channel in channels[:position]:
                first = tokens[channels.index(channel)]
                raise InputError(
                    f"--modalities names {self.names[channel]} twice ({first!r} and {tokens[position]!r}): "
                    "give each modality once"
                )
        return tuple(sorted(channels))

    def _channel(self, token: str) -> int:
        wanted = _without_plus(token).strip().lower()
        lowered = [name.lower() for name in self.names]
        without_number = [name.removesuffix(_numbered("", i)) for i, name in enumerate(lowered)]
        group = next((group for group in ALIASES if wanted in group), frozenset())
        if token in self.names:
            candidates = [i for i, name in enumerate(self.names) if name == token]
        else:
            candidates = [i for i, name in enumerate(lowered) if name == wanted]
        if not candidates:
            candidates = [i for i, name in enumerate(without_number) if name == wanted]
        if not candidates:
            candidates = [i for i, name in enumerate(without_number) if name in group]
        if not candidates and wanted.isdecimal() and int(wanted) < len(self):
            candidates = [int(wanted)]
        if len(candidates) > 1:
            meant = ", ".join(f"{self.names[i]} (channel {i})" for i in candidates)
            raise InputError(f"modality {token!r} is ambiguous: it could be {meant}; give the channel's number")
        if not candidates:
            near = get_close_matches(wanted, lowered, n=1, cutoff=0.5)
            hint = f"; did you mean {self.names[lowered.index(near[0])]}?" if near else ""
            raise InputError(f"unknown modality {token!r}: choose among {self.listing()}{hint}")
        return candidates[0]

    def listing(self) -> str:
        """Return all names for a message: ``FLAIR, T1, T1c, T2``."""
        return ", ".join(self.names)

    def format(self, subset: Iterable[int]) -> str:
        """Return the names of a subset joined by ``+``: ``FLAIR+T1c``."""
        return "+".join(self.names[i] for i in subset)

    def dots(self, subset: Iterable[int]) -> str:
        """Return the paper's notation, one mark per modality: ``● ○ ● ○`` (● available, ○ missing)."""
        available = set(subset)
        return " ".join("●" if i in available else "○" for i in range(len(self)))


def union(subsets: Iterable[Subset]) -> Subset:
    """Return the modalities that are in any of these subsets."""
    return tuple(sorted({m for subset in subsets for m in subset}))


def _without_plus(name: str) -> str:
    return name.replace("+", "plus")


def _numbered(name: str, channel: int) -> str:
    return f"{name} ({channel})"
