"""Groups of near-duplicates that a person should look at: held together by one weak pair, or very large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trashkit.images.near_duplicates import MIN_AGREEMENT, Matching, NearDuplicate

LARGE_SHARE, LARGE_SIZE = 0.03, 5
"""A group is large with more than this share of all photos, and at least so many."""

SHOWN = 3
"""Groups that are named one by one."""


@dataclass(frozen=True)
class DoubtfulGroup:
    """A group and the pair to look at, by position of the photos.

    members: in ascending order. pair: the weakest one that holds the group together. parts: how many photos the pair
    joins on either side. weak: whether the group would fall apart without this weak pair; else it is only large.
    """

    members: tuple[int, ...]
    pair: NearDuplicate
    parts: tuple[int, int]
    weak: bool

    def message(self, names: Sequence[str], photos: int) -> str:
        """One line for a person. names: of the photos by position. photos: how many there are."""
        share = f"{len(self.members)} of {photos} photos are one group of near-duplicates"
        pair = f"{names[self.pair.one]} and {names[self.pair.other]} (agreement {self.pair.agreement:.2f})"
        if not self.weak:
            return f"{share}; its weakest pair is {pair}: check that they show the same picture"
        return f"{share}, and only {pair} join{_parts(self.parts)}: check that they show the same picture"

    def as_json(self, names: Sequence[str]) -> dict[str, Any]:
        """The record in SPLIT.json. names: of the photos by position."""
        return {
            "photos": len(self.members),
            "reason": "weak pair" if self.weak else "large",
            "pair": [names[self.pair.one], names[self.pair.other]],
            "agreement": round(self.pair.agreement, 4),
            "parts": list(self.parts),
            "first_file_names": [names[member] for member in self.members[:20]],
        }

    @property
    def remark(self) -> str:
        """The same as a remark about the pair."""
        if self.weak:
            return f"this pair alone joins{_parts(self.parts)}"
        return f"this is the weakest pair of a group of {len(self.members)} photos"


def doubtful_lines(groups: Sequence[DoubtfulGroup], names: Sequence[str], matching: Matching) -> list[str]:
    """Lines for a person about the first SHOWN groups, the last one with what to do. names: of all photos."""
    lines = [group.message(names, len(names)) for group in groups[:SHOWN]]
    if not lines:
        return []
    if len(groups) > SHOWN:
        lines.append(f"{len(groups) - SHOWN} more groups of near-duplicates are as doubtful")
    others = "off" if matching == "strict" else "strict or off"
    lines.append(f"if a pair named above is not the same picture, use --near-duplicate-matching {others}")
    return lines


def _parts(parts: tuple[int, int]) -> str:
    return f" {parts[0]} photos with {parts[1]} others"


def doubtful_groups(count: int, pairs: Sequence[NearDuplicate]) -> list[DoubtfulGroup]:
    """Doubtful groups among `count` photos, largest first.

    pairs: as `trashkit.images.near_duplicates.near_duplicate_pairs` returns them, without circles. A weak pair counts
    if it joins two parts of two or more photos each: a wrong pair of two single photos does little harm.
    """
    neighbours = _neighbours(pairs)
    left = set(neighbours)
    found: list[DoubtfulGroup] = []
    for start in sorted(neighbours):
        if start not in left:
            continue
        members = _reached(start, neighbours)
        left -= members.keys()
        # Each member but the start is reached by a pair, which cuts off the photos below it.
        below = dict.fromkeys(members, 1)
        for member in reversed(members):
            if (pair := members[member]) is not None:
                below[pair.one if pair.other == member else pair.other] += below[member]
        joins = [(pair, below[member]) for member, pair in members.items() if pair is not None]
        weak = [
            (pair, size)
            for pair, size in joins
            if pair.agreement < MIN_AGREEMENT["strict"] and 2 <= size <= len(members) - 2
        ]
        if weak or len(members) > max(LARGE_SHARE * count, LARGE_SIZE - 1):
            pair, size = min(weak or joins, key=lambda join: (join[0].agreement, join[0]))
            parts = size, len(members) - size
            found.append(DoubtfulGroup(tuple(sorted(members)), pair, (min(parts), max(parts)), bool(weak)))
    return sorted(found, key=lambda group: (-len(group.members), group.members))


def partners(pairs: Sequence[NearDuplicate]) -> dict[int, NearDuplicate]:
    """The pair that joins each photo to the first one of its group, directly or as the last of several; by position."""
    neighbours = _neighbours(pairs)
    found: dict[int, NearDuplicate] = {}
    seen: set[int] = set()
    for start in sorted(neighbours):
        if start not in seen:
            members = _reached(start, neighbours)
            seen |= members.keys()
            found |= {member: pair for member, pair in members.items() if pair is not None}
    return found


def _neighbours(pairs: Sequence[NearDuplicate]) -> Mapping[int, list[tuple[int, NearDuplicate]]]:
    found: dict[int, list[tuple[int, NearDuplicate]]] = {}
    for pair in pairs:
        found.setdefault(pair.one, []).append((pair.other, pair))
        found.setdefault(pair.other, []).append((pair.one, pair))
    return found


def _reached(start: int, neighbours: Mapping[int, list[tuple[int, NearDuplicate]]]) -> dict[int, NearDuplicate | None]:
    """All photos of the group of `start`, nearest first, with the pair by which each is reached; None for `start`."""
    found: dict[int, NearDuplicate | None] = {start: None}
    queue = [start]
    for one in queue:
        for other, pair in neighbours[one]:
            if other not in found:
                found[other] = pair
                queue.append(other)
    return found
