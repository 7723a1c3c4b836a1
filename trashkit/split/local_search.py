"""One start of the split search: greedy, then the best swap or move of whole matrices of candidates, then kicks.

Everything here works on arrays; `trashkit.split.search` says what they hold and what the objective is. For two folds,
the change of the objective is quadratic in the difference of the two units exchanged, so one matrix product gives the
change for every pair of units at once; a row and a column of zeros beside them stand for "nothing in exchange", which
makes moves out of swaps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Standing = tuple[int, int, int, float]

STEP_COST = 20_000
"""One matrix of candidates costs at least as much time as this many candidates, and is counted so."""
ROWS = 768
"""A matrix of candidates has at most this many units a side; of larger folds a random sample is taken."""
PATIENCE = 300
"""Kicks without improvement after which a start begins anew."""
AGAIN = 0.5
"""Disorder of the greedy starts after the first (see `Start.greedy`)."""
SLACK = 1e-3
"""A kick may end worse by about this much of the objective."""
HEADLINE_SLACK = 5e-3
"""The same of the headline, where that leads."""
RETURN = 40
"""Kicks without improvement after which the search goes back to the best."""
FOCUS = 0.1
"""Every other start gives this part of their weight to families without headline features: in small sets of large
groups they would keep the headline from what can be reached."""
ROUGH, STEP = 0.02, 1e-5
"""Of two splits seen, that with the lower headlines (`Start.headline`) is kept, in steps of this much, and the one
with the lower objective within a step: else a longer search could show a worse headline than a shorter one."""
_TINY = 1e-13


class Start:
    """One start: its own random numbers, so the result does not depend on how many run at once."""

    def __init__(
        self,
        values: Floats,
        presence: NDArray[np.bool_],
        shares: Floats,
        weights: Floats,
        *,
        floor: Floats,
        family: Ints,
        whole: NDArray[np.bool_],
        importance: Floats | None = None,
        focus: float = 1.0,
        seed: list[int],
    ):
        self.rng = np.random.default_rng(np.random.SeedSequence(seed))
        self.focused = focus < 1
        led = weights * np.where(np.isin(family, family[np.isfinite(floor)]), 1.0, focus)
        self.root = np.sqrt(led)
        self.true = np.divide(weights, led, out=np.ones_like(weights), where=led > 0)
        self.told = np.flatnonzero(np.isfinite(floor) & (weights > 0))
        self.floor = floor[self.told]
        self.importance = np.ones(len(self.told)) if importance is None else importance[self.told]
        kinds = family[self.told]
        self.families = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
        self.whole = [bool(whole[self.told[kind]].all()) for kind in self.families]
        self.units = np.ascontiguousarray(values * self.root)
        self.length = np.einsum("uf,uf->u", self.units, self.units)
        self.presence = presence
        self.shares = shares
        self.fold: Ints = np.full(len(values), -1, dtype=np.intp)
        self.sums = np.zeros((len(shares), values.shape[1]))
        self.counts = np.zeros((len(shares), presence.shape[1]), dtype=np.int64)
        self.candidates = 0
        self.spent = 0
        self.rounds = 0
        self.exact = False

    def residual(self) -> Floats:
        """[K, F] weighted deviation of each fold."""
        return np.asarray(self.sums / self.shares[:, None] - self.root)

    def led(self) -> float:
        """What a kick is judged by: the headline where this start is led by it, else the objective."""
        return sum(self.headline()) + STEP * self.cost() if self.focused else self.cost()

    def cost(self) -> float:
        """The objective."""
        return float((np.square(self.residual()) * self.true).sum())

    def missing(self) -> int:
        return int((self.counts == 0).sum())

    def headline(self) -> tuple[float, float]:
        """Of the headline features, (1) what is counted in whole numbers, (2) all; 0 where there are none.

        (1) is the worst deviation, summed over families. (2) is (1) and the worst deviation above a feature's own floor
        and the mean deviation, summed over families. Sums, not a rule for each: nothing that a little of one criterion
        buys may cost much of another.
        """
        if not len(self.told):
            return 0.0, 0.0
        off = np.abs(self.sums[:, self.told] / (self.shares[:, None] * self.root[self.told]) - 1)
        above = np.maximum(off.max(axis=0) - self.floor, 0.0) * self.importance
        worst, mean = off.max(axis=0) * self.importance, off.mean(axis=0) * self.importance
        counted = sum(float(worst[kind].max()) for kind, whole in zip(self.families, self.whole, strict=True) if whole)
        return counted, counted + sum(float(above[kind].max() + mean[kind].mean()) for kind in self.families)

    def standing(self) -> Standing:
        """What splits are compared by in the end: missing classes, both headlines in steps, the objective."""
        counted, every = self.headline()
        return self.missing(), _steps(counted, ROUGH), _steps(every, STEP), self.cost()

    def place(self, unit: int, fold: int) -> None:
        """Put a unit into a fold, out of the one it is in."""
        old = int(self.fold[unit])
        if old >= 0:
            self.sums[old] -= self.units[unit]
            self.counts[old] -= self.presence[unit]
        self.fold[unit] = fold
        self.sums[fold] += self.units[unit]
        self.counts[fold] += self.presence[unit]

    def free(self, fold: int) -> Ints:
        """Units of a fold that may leave it: not the last one of a class there."""
        members = np.flatnonzero(self.fold == fold)
        last = self.counts[fold] == 1
        if last.any():
            members = members[~self.presence[members][:, last].any(axis=1)]
        return members

    # -- start ------------------------------------------------------------------------------------------------------
    def greedy(self, jitter: float) -> None:
        """Iterative stratification over units (after Sechidis et al. 2011): the rarest class first.

        Of a class, the units that weigh most in the objective first, in an order disturbed by `jitter` (standard
        deviation of the logarithm). Each goes to the fold where the objective grows least; a fold without the class
        comes first as long as there is one.
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
        """Move units into folds that lack a class, as far as no other fold then lacks one."""
        for fold, number in np.argwhere(self.counts == 0):
            if self.counts[fold, number]:
                continue
            options = [
                u for k in range(len(self.shares)) if k != fold for u in self.free(k) if self.presence[u, number]
            ]
            if options:
                growth = 2 * (self.units[options] @ self.residual()[fold]) / self.shares[fold]
                self.place(int(options[int(growth.argmin())]), int(fold))

    # -- local search -----------------------------------------------------------------------------------------------
    def _sample(self, fold: int) -> Ints:
        members = self.free(fold)
        if len(members) > ROWS:
            members = members[self.rng.choice(len(members), ROWS, replace=False)]
        return members

    def step(self, a: int, b: int) -> bool:
        """Do the best swap or move between two folds, if it improves."""
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
        """Steps until no pair of folds has an improving one, False if `stop` came before.

        folds: those touched since the last time.
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
        """Exchange a random unit with one of its nearest in another fold, or move it, once or twice."""
        touched: set[int] = set()
        for _ in range(int(self.rng.integers(1, 3))):
            a, b = (int(k) for k in self.rng.choice(len(self.shares), 2, replace=False))
            left, right = self.free(a), self.free(b)
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
        if not touched:  # of next to nothing to exchange the search ends by this
            self.spent += STEP_COST
        return touched

    def _state(self) -> tuple[Ints, Floats, NDArray[np.int64]]:
        return self.fold.copy(), self.sums.copy(), self.counts.copy()

    def _restore(self, state: tuple[Ints, Floats, NDArray[np.int64]]) -> None:
        self.fold, self.sums, self.counts = state[0].copy(), state[1].copy(), state[2].copy()

    def run(self, jitter: float, stop: Callable[[], bool]) -> tuple[Standing, Ints]:
        """Searches from one greedy start after the other until `stop`: the best by `standing`, and its folds."""
        chosen: tuple[Standing, Ints] | None = None
        while chosen is None or not (stop() or self.exact):
            self._clear()
            self.greedy(jitter if chosen is None else AGAIN)
            self.rounds += 1
            seen = self._round(stop, first=chosen is None)
            if seen is not None and (chosen is None or seen[0] < chosen[0]):
                chosen = seen
        return chosen

    def _clear(self) -> None:
        self.fold[:], self.sums[:], self.counts[:] = -1, 0.0, 0

    def _round(self, stop: Callable[[], bool], *, first: bool) -> tuple[Standing, Ints] | None:
        """Iterated local search until `stop` or nothing more is found; None if stopped before the first optimum.

        The search is led by the objective alone; what it passes on the way is kept by `standing`.
        """
        if not self.descend(set(range(len(self.shares))), stop) and not first:
            return None
        final, chosen = self.standing(), self.fold.copy()
        best = current = (final[0], self.led())
        kept = here = self._state()
        idle = 0
        while not stop() and idle < PATIENCE and best[1] > _TINY:
            whole = self.descend(self.kick(), stop)
            seen = self.standing()
            # What a longer search would only have passed through does not count, else it could end worse.
            if whole and seen < final:
                final, chosen = seen, self.fold.copy()
            now = (seen[0], self.led())
            idle += 1
            if now[0] < best[0] or (now[0] == best[0] and now[1] < best[1] - _TINY):
                best, kept, idle = now, self._state(), 0
            # A little worse than the last is taken too, else one lucky arrangement would hold the search for good.
            if (
                now[0] <= current[0]
                and now[1] <= current[1] + (HEADLINE_SLACK if self.focused else SLACK) * self.rng.exponential()
            ):
                current, here = now, self._state()
            else:
                self._restore(here)
            if idle % RETURN == RETURN - 1:
                current, here = best, kept
                self._restore(kept)
        self.exact = final[-1] <= _TINY
        return final, chosen


def _steps(value: float, step: float) -> int:
    return int(np.ceil(value / step - 1e-6))
