"""Make a ledger of simulated submissions, to check the estimates of `trashkit leaderboard proxy`.

    python tests/benchmarks/make_ledger.py ledger.jsonl [--seed 0]
    trashkit leaderboard proxy --ledger ledger.jsonl

Ten models of bench_simulation.py on synthetic objects (1,500 images, no data needed): eight with a public score, two
candidates without. Prints the hidden private scores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from bench_simulation import draw_test, miou
from bench_split import COUNTS, large
from simulated_models import matrices, population, training, world

from trashkit.leaderboard.evidence import Evidence, write_evidence
from trashkit.leaderboard.ledger import Entry, RunReference, append


def make(path: Path, seed: int, models: int = 10, known: int = 8) -> list[tuple[str, float, float]]:
    """Write the ledger; returns name, public and private score of every submission."""
    rng = np.random.default_rng(seed)
    data = world(large(1500), rng)
    many = population(data, rng, models=models, spread=0.15)
    train, public_rows, private_rows = draw_test(data, rng, 0.5)
    fold = rng.permutation(len(train)) % 5
    luck = training(rng, models, 5, data.classes)
    found = matrices(data, many, train, fold=fold, luck=luck).round().astype(np.int64)
    halves = [matrices(data, many, rows) for rows in (public_rows, private_rows)]
    public, private = (miou(half) for half in halves)
    pixels = np.concatenate([half.sum(axis=2) for half in halves], axis=1).round().astype(np.int64)
    names = ("Background", *list(COUNTS)[: data.classes - 1])
    for n in range(models):
        evidence = Evidence(names, tuple(train.tolist()), found[n], pixels[n])
        entry = Entry(
            name=f"model-{n}",
            path=f"model-{n}.csv",
            sha256=f"{n:064x}",
            time="2026-11-01T12:00:00+00:00",
            public=float(public[n]) if n < known else None,
            images=len(pixels[n]),
            pixels=dict(zip(names, pixels[n].sum(axis=0).tolist(), strict=True)),
            run=RunReference(f"runs/{n}"),
            validation=write_evidence(evidence, path, f"{n}"),
        )
        append(path, entry)
    return [(f"model-{n}", float(public[n]), float(private[n])) for n in range(models)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for name, public_score, private_score in sorted(make(asked.ledger, asked.seed), key=lambda row: -row[2]):
        print(f"{name}: public {public_score:.4f}, private {private_score:.4f}")
