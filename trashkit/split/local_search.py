"""Iterated local search for a split: a greedy start, the best of all swaps or moves between two folds, and kicks.

`trashkit.split.search` describes the arrays and the objective. For two folds, the change of the objective is quadratic
in the difference of the two units exchanged, so one matrix product gives the change for all pairs of units at once. An
extra row and column of zeros stand for "nothing in exchange", so that moves are evaluated together with swaps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Rank = tuple[int, int, int, float]

STEP_COST = 20_000
"""Least cost of one matrix of candidates, in candidates: smaller matrices take as much time as that."""
MAX_UNITS = 768
"""Most units on each side of a matrix of candidates; larger folds are sampled at random."""
PATIENCE = 300
"""Kicks without improvement before a restart."""
RESTART_JITTER = 0.5
"""Jitter of greedy restarts (see `LocalSearch.greedy`)."""
SLACK = 1e-3
"""Scale of the increase of the objective that is accepted after a kick."""
SELECTION_SLACK = 5e-3
"""The same for the selection score, in starts that are guided by it."""
RETURN_AFTER = 40
"""Kicks without improvement before the search returns to its best split."""
FOCUS = 0.1
"""Every other start multiplies the weights of families without deciding features by this: in small data sets with large
groups, they would prevent the best reachable selection score."""
COUNT_STEP, SCORE_STEP = 0.02, 1e-5
"""Splits are compared by their selection scores (`LocalSearch.selection_score`) in steps of this size, and by the
objective within a step: otherwise a longer search could end with a worse score than a shorter one."""
_TINY = 1e-13


class LocalSearch:
    """One start, with its own random numbers, so that the result does not depend on how many run in parallel."""

    def __init__(
        self,
        values: Floats,
        presence: NDArray[np.bool_],
        shares: Floats,
        weights: Floats,
        *,
        floor: Floats,
        family: Ints,
        integer_valued: NDArray[np.bool_],
        importance: Floats | None = None,
        focus: float = 1.0,
        seed: list[int],
    ):
        self.rng = np.random.default_rng(np.random.SeedSequence(seed))
        self.focused = focus < 1
        guiding = weights * np.where(np.isin(family, family[np.isfinite(floor)]), 1.0, focus)
        self.root_weights = np.sqrt(guiding)
        self.weight_ratio = np.divide(weights, guiding, out=np.ones_like(weights), where=guiding > 0)
        self.deciding = np.flatnonzero(np.isfinite(floor) & (weights > 0))
        self.floor = floor[self.deciding]
        self.importance = np.ones(len(self.deciding)) if importance is None else importance[self.deciding]
        kinds = family[self.deciding]
        self.families = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
        self.integral = [bool(integer_valued[self.deciding[kind]].all()) for kind in self.families]
        self.units = np.ascontiguousarray(values * self.root_weights)
        self.length = np.einsum("uf,uf->u", self.units, self.units)
        self.presence = presence
        self.shares = shares
        self.fold: Ints = np.full(len(values), -1, dtype=np.intp)
        self.sums = np.zeros((len(shares), values.shape[1]))
        self.counts = np.zeros((len(shares), presence.shape[1]), dtype=np.int64)
        self.candidates = 0
        self.spent = 0
        self.restarts = 0
        self.exact = False

    def residual(self) -> Floats:
        """[K, F] weighted deviation of each fold."""
        return np.asarray(self.sums / self.shares[:, None] - self.root_weights)

    def acceptance_score(self) -> float:
        """Score that decides whether a kick is accepted: the selection score in focused starts, else the objective."""
        return sum(self.selection_score()) + SCORE_STEP * self.cost() if self.focused else self.cost()

    def cost(self) -> float:
        """The objective."""
        return float((np.square(self.residual()) * self.weight_ratio).sum())

    def missing(self) -> int:
        return int((self.counts == 0).sum())

    def selection_score(self) -> tuple[float, float]:
        """Selection score of (1) the deciding features that are integer counts, (2) all deciding features; 0 if none.

        (1) is the worst deviation, summed over families. (2) is (1) plus the worst deviation above a feature's own
        floor plus the mean deviation, summed over families. Sums keep a small gain in one criterion from costing much
        in another.
        """
        if not len(self.deciding):
            return 0.0, 0.0
        off = np.abs(self.sums[:, self.deciding] / (self.shares[:, None] * self.root_weights[self.deciding]) - 1)
        above = np.maximum(off.max(axis=0) - self.floor, 0.0) * self.importance
        worst, mean = off.max(axis=0) * self.importance, off.mean(axis=0) * self.importance
        counted = sum(
            float(worst[kind].max()) for kind, integral in zip(self.families, self.integral, strict=True) if integral
        )
        return counted, counted + sum(float(above[kind].max() + mean[kind].mean()) for kind in self.families)

    def rank(self) -> Rank:
        """Final order of splits: missing classes, both selection scores in steps, the objective."""
        counted, every = self.selection_score()
        return self.missing(), _steps(counted, COUNT_STEP), _steps(every, SCORE_STEP), self.cost()

    def place(self, unit: int, fold: int) -> None:
        """Move a unit into a fold."""
        old = int(self.fold[unit])
        if old >= 0:
            self.sums[old] -= self.units[unit]
            self.counts[old] -= self.presence[unit]
        self.fold[unit] = fold
        self.sums[fold] += self.units[unit]
        self.counts[fold] += self.presence[unit]

    def movable(self, fold: int) -> Ints:
        """Units that may leave a fold: not the last one of a class there."""
        members = np.flatnonzero(self.fold == fold)
        last = self.counts[fold] == 1
        if last.any():
            members = members[~self.presence[members][:, last].any(axis=1)]
        return members

    # -- start ------------------------------------------------------------------------------------------------------
    def greedy(self, jitter: float) -> None:
        """Iterative stratification over units (after Sechidis et al. 2011), rarest class first.

        Within a class, units with the largest weight in the objective come first, in an order perturbed by `jitter`
        (standard deviation of the logarithm). Each goes to the fold where the objective grows least, but to folds
        without the class first.
        """
        todo = np.ones(len(self.units), dtype=bool)
        weight = self.length * np.exp(jitter * self.rng.standard_normal(len(self.units)))
        for number in range(self.presence.shape[1]):
            chosen = np.flatnonzero(todo & self.presence[:, number])
            for unit in chosen[np.argsort(-weight[chosen], kind="stable")]:
                self._place_best(int(unit), number)
            todo[chosen] = False
        rest = np.flatnonzero(todo)
        for unit in rest[np.argsort(-weight[rest], kind="stable")]:
            self._place_best(int(unit), None)
        self._repair()

    def _place_best(self, unit: int, number: int | None) -> None:
        growth = 2 * (self.residual() / self.shares[:, None]) @ self.units[unit] + self.length[unit] / self.shares**2
        growth += 1e-12 * self.rng.random(len(growth))
        if number is not None:
            empty = self.counts[:, number] == 0
            if empty.any():
                growth = np.where(empty, growth, np.inf)
        self.place(unit, int(growth.argmin()))

    def _repair(self) -> None:
        """Move units into folds that lack a class, unless another fold would then lack one."""
        for fold, number in np.argwhere(self.counts == 0):
            if self.counts[fold, number]:
                continue
            options = [
                u for k in range(len(self.shares)) if k != fold for u in self.movable(k) if self.presence[u, number]
            ]
            if options:
                growth = 2 * (self.units[options] @ self.residual()[fold]) / self.shares[fold]
                self.place(int(options[int(growth.argmin())]), int(fold))

    # -- local search -----------------------------------------------------------------------------------------------
    def _sample(self, fold: int) -> Ints:
        members = self.movable(fold)
        if len(members) > MAX_UNITS:
            members = members[self.rng.choice(len(members), MAX_UNITS, replace=False)]
        return members

    def step(self, a: int, b: int) -> bool:
        """Apply the best swap or move between two folds, if it improves the objective."""
        left, right = self._sample(a), self._sample(b)
        if not len(left) and not len(right):
            self.spent += STEP_COST
            return False
        wide = np.zeros((len(left) + 1, self.units.shape[1]))
        tall = np.zeros((len(right) + 1, self.units.shape[1]))
        wide[:-1], tall[:-1] = self.units[left], self.units[right]
        residual = self.residual()
        slope = 2 * (residual[a] / self.shares[a] - residual[b] / self.shares[b])
        curve = 1 / self.shares[a] ** 2 + 1 / self.shares[b] ** 2
        change = (-2 * curve * wide) @ tall.T
        change += (curve * np.append(self.length[left], 0.0) - wide @ slope)[:, None]
        change += curve * np.append(self.length[right], 0.0) + tall @ slope
        self.candidates += change.size
        self.spent += max(change.size, STEP_COST)
        row, column = divmod(int(change.argmin()), change.shape[1])
        if change[row, column] >= -_TINY:
            return False
        if row < len(left):
            self.place(int(left[row]), b)
        if column < len(right):
            self.place(int(right[column]), a)
        return True

    def descend(self, folds: set[int], stop: Callable[[], bool]) -> bool:
        """Step until no pair of folds improves; returns False if `stop` came first.

        folds: those changed since the last descent.
        """
        pairs = [(a, b) for a in range(len(self.shares)) for b in range(a)]
        open_pairs = {p for p in pairs if p[0] in folds or p[1] in folds}
        while open_pairs:
            for index in self.rng.permutation(len(pairs)):
                pair = pairs[index]
                if pair not in open_pairs:
                    continue
                if stop():
                    return False
                if self.step(*pair):
                    open_pairs |= {p for p in pairs if pair[0] in p or pair[1] in p}
                else:
                    open_pairs.discard(pair)
        return True

    def kick(self) -> set[int]:
        """Swap a random unit with one of its nearest in another fold, or move it; once or twice."""
        touched: set[int] = set()
        for _ in range(int(self.rng.integers(1, 3))):
            a, b = (int(k) for k in self.rng.choice(len(self.shares), 2, replace=False))
            left, right = self.movable(a), self.movable(b)
            if not len(left):
                continue
            unit = int(left[self.rng.integers(len(left))])
            touched |= {a, b}
            if not len(right) or self.rng.random() < 0.1:
                if len(left) > 1:
                    self.place(unit, b)
                continue
            distance = self.length[right] - 2 * self.units[right] @ self.units[unit]
            nearest = np.argsort(distance, kind="stable")[:10]
            other = int(right[nearest[self.rng.integers(len(nearest))]])
            self.place(unit, b)
            self.place(other, a)
        if not touched:  # ends the search if there is hardly anything to swap
            self.spent += STEP_COST
        return touched

    def _state(self) -> tuple[Ints, Floats, NDArray[np.int64]]:
        return self.fold.copy(), self.sums.copy(), self.counts.copy()

    def _restore(self, state: tuple[Ints, Floats, NDArray[np.int64]]) -> None:
        self.fold, self.sums, self.counts = state[0].copy(), state[1].copy(), state[2].copy()

    def run(self, jitter: float, stop: Callable[[], bool]) -> tuple[Rank, Ints]:
        """Search from greedy starts until `stop`; returns the best rank and its folds."""
        chosen: tuple[Rank, Ints] | None = None
        while chosen is None or not (stop() or self.exact):
            self._clear()
            self.greedy(jitter if chosen is None else RESTART_JITTER)
            self.restarts += 1
            seen = self._round(stop, first=chosen is None)
            if seen is not None and (chosen is None or seen[0] < chosen[0]):
                chosen = seen
        return chosen

    def _clear(self) -> None:
        self.fold[:], self.sums[:], self.counts[:] = -1, 0.0, 0

    def _round(self, stop: Callable[[], bool], *, first: bool) -> tuple[Rank, Ints] | None:
        """Iterated local search until `stop` or PATIENCE is exhausted; None if stopped before the first optimum.

        The search is guided by the objective; of the splits on its way, the best by `rank` is kept.
        """
        if not self.descend(set(range(len(self.shares))), stop) and not first:
            return None
        final, chosen = self.rank(), self.fold.copy()
        best = current = (final[0], self.acceptance_score())
        kept = here = self._state()
        idle = 0
        while not stop() and idle < PATIENCE and best[1] > _TINY:
            finished = self.descend(self.kick(), stop)
            seen = self.rank()
            # Splits of an interrupted descent do not count, or a longer search could end worse.
            if finished and seen < final:
                final, chosen = seen, self.fold.copy()
            now = (seen[0], self.acceptance_score())
            idle += 1
            if now[0] < best[0] or (now[0] == best[0] and now[1] < best[1] - _TINY):
                best, kept, idle = now, self._state(), 0
            # Slightly worse splits are accepted too, or the search would stay in a local optimum forever.
            if (
                now[0] <= current[0]
                and now[1] <= current[1] + (SELECTION_SLACK if self.focused else SLACK) * self.rng.exponential()
            ):
                current, here = now, self._state()
            else:
                self._restore(here)
            if idle % RETURN_AFTER == RETURN_AFTER - 1:
                current, here = best, kept
                self._restore(kept)
        self.exact = final[-1] <= _TINY
        return final, chosen


def _steps(value: float, step: float) -> int:
    return int(np.ceil(value / step - 1e-6))
