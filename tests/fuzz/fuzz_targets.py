"""What is fuzzed: commands, each with the files that are damaged and those that it needs besides."""

# ruff: noqa: E501  a command is easier to read on one line
from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec

from fuzz_place import FORMATS


@dataclass(frozen=True)
class Target:
    """A command that reads files.

    name: unique. command: its words as a shell would read them. victims: patterns of the files that are damaged, one or
    two at a time. needs: other files and folders that it reads. torch: whether it imports torch. share: how many cases
    it gets, relative to others. text: whether it cannot print JSON.
    """

    name: str
    command: str
    victims: str
    needs: str = ""
    torch: bool = False
    share: float = 1.0
    text: bool = False

    @cached_property
    def files(self) -> list[str]:
        """Patterns of everything that is copied for a case."""
        return [*self.victims.split(), *self.needs.split()]

    @property
    def words(self) -> list[str]:
        """The command as a list."""
        return shlex.split(self.command)


SOURCES = {"coco": "train.json", "cvat": "annotations.xml", "label-studio": "tasks.json"}
PHOTOS = "data/images"
DATA = "data/train.json"
TEST = "--data data/test.json --size 32"
STORE = "test-store/*"

TARGETS: tuple[Target, ...] = (
    # annotations
    Target("audit", "audit data/train.json --workers 1", DATA, share=4),
    Target("audit-photos", f"audit data/train.json --images {PHOTOS} --html a.html", f"{DATA} {PHOTOS}/*/*", share=2),
    Target("init", "init data", f"{DATA} data/test.json", f"{PHOTOS}/*/* sample.csv"),
    Target("data-select", "data select fixed.json --max-annotations 2 --outlined --out o.json", "fixed.json"),
    Target("data-list", f"data list {PHOTOS} --without data/train.json --out o.json", f"{DATA} {PHOTOS}/*/*"),
    Target("audit-github", "audit data/train.json --format github", DATA, share=2, text=True),
    Target("audit-against", "audit data/train.json --against data/test.json", f"data/test.json {DATA}"),
    Target("audit-config", "audit data/train.json --config trashkit.toml", "trashkit.toml", DATA),
    Target("audit-default-config", "audit data/train.json", "trashkit.toml", DATA),
    Target("audit-baseline", "audit data/train.json --baseline known.json", "known.json", DATA),
    Target("audit-write-baseline", "audit data/train.json --baseline known.json --write-baseline --overwrite", "known.json", DATA),
    Target("audit-predictions", "audit fixed.json --predictions run/oof --select P", "run/oof/*", "fixed.json"),
    Target("audit-run", "audit fixed.json --predictions run --select P", "run/manifest.json run/oof/zarr.json", "fixed.json run"),
    Target("fix", "fix data/train.json --unsafe --out o.json --write-edits e.jsonl", DATA, share=3),
    Target("fix-photos", f"fix data/train.json --unsafe --delete --images {PHOTOS} --against data/test.json --out o.json",
           f"data/test.json {PHOTOS}/*/*", DATA),
    Target("fix-pinholes", "fix data/train.json --despeckle 3 --fill-holes 25 --out o.json", DATA),
    Target("fix-diff", "fix data/train.json --unsafe --diff", DATA),
    Target("fix-edits", "fix data/train.json --edits edits.jsonl --out o.json", "edits.jsonl", DATA, share=2),
    Target("fix-respect", "fix data/train.json --respect review.jsonl --unsafe --out o.json", "review.jsonl", DATA),
    Target("fix-append", "fix data/train.json --out o.json --write-edits edits.jsonl", "edits.jsonl", DATA),
    Target("fix-config", "fix data/train.json --out o.json --config trashkit.toml", "trashkit.toml", DATA),
    Target("fix-predictions", "fix fixed.json --predictions run/oof --unsafe --select P --out o.json", "run/oof/*", "fixed.json"),
    Target("edits-show", "edits show review.jsonl", "review.jsonl", share=2),
    Target("edits-stats", "edits stats edits.jsonl", "edits.jsonl"),
    Target("edits-apply", "edits apply data/train.json edits.jsonl --out o.json", f"edits.jsonl {DATA}"),
    Target("edits-apply-some", "edits apply data/train.json review.jsonl --kind relabel --skip-dependent --out o.json", "review.jsonl", DATA),
    Target("edits-invert", "edits invert data/train.json edits.jsonl --out o.jsonl", f"edits.jsonl {DATA}"),
    Target("edits-merge", "edits merge edits.jsonl review.jsonl --out o.jsonl", "edits.jsonl review.jsonl", share=2),
    Target("edits-diff", "edits diff data/train.json fixed.json --out o.jsonl", f"fixed.json {DATA}"),
    Target("edits-diff-exact", "edits diff data/train.json fixed.json --exact --part --out o.jsonl", f"fixed.json {DATA}"),
    Target("review-page", f"review data/train.json --images {PHOTOS} --html o.html", f"{DATA} {PHOTOS}/*/*", text=True),
    Target("review-findings", f"review fixed.json --images {PHOTOS} --findings audit.json --html o.html", "audit.json",
           f"fixed.json {PHOTOS}", text=True, share=2),
    Target("review-predictions", f"review fixed.json --images {PHOTOS} --predictions run/oof --html o.html", "run/oof/*",
           f"fixed.json {PHOTOS}", text=True),
    Target("review-csv", f"review fixed.json --images {PHOTOS} --predictions submission.csv --test data/test.json --html o.html",
           "submission.csv data/test.json", f"fixed.json {PHOTOS}", text=True),
    Target("review-pseudo", f"review fixed.json --images {PHOTOS} --predictions pseudo --test data/test.json --html o.html",
           "pseudo/*.json pseudo/labels/*", f"fixed.json data/test.json {PHOTOS} pseudo", text=True),
    Target("review-edits", f"review data/train.json --images {PHOTOS} --edits review.jsonl --against fixed.json --config trashkit.toml --html o.html",
           "review.jsonl fixed.json trashkit.toml", f"{DATA} {PHOTOS}", text=True),
    # other formats
    *(Target(f"import-{form}", f"data import {form} export/{form}{'/' + SOURCES[form] if form in SOURCES else ''} --out o.json",
             f"export/{form}/**/*", share=1.5) for form in FORMATS),
    *(Target(f"import-{form}-like", f"data import {form} export/{form}{'/' + SOURCES[form] if form in SOURCES else ''} --out o.json "
             "--like data/truth.json", f"export/{form}/**/* data/truth.json", share=0.5) for form in FORMATS),
    *(Target(f"import-{form}-photos", f"data import {form} export/{form}{'/' + SOURCES[form] if form in SOURCES else ''} --out o.json "
             f"--images {PHOTOS}", f"export/{form}/**/* {PHOTOS}/*/*", share=0.5) for form in ("coco", "labelme", "cvat", "label-studio")),
    Target("import-into", "data import coco data/truth.json --into fixed.json --classes classes.json --out o.json",
           "data/truth.json fixed.json classes.json"),
    Target("import-names", "data import voc export/voc --names names.txt --out o.json", "names.txt", "export/voc"),
    Target("import-arrays", "data import predictions arrays --data data/test.json --size 32 --out o", "arrays/*/* data/test.json", share=2),
    Target("import-label-maps", "data import predictions export/mmsegmentation/ann_dir/train --name-map export/mmsegmentation/names.json "
           "--data data/truth.json --size 32 --out o", "export/mmsegmentation/**/*", "data/truth.json"),
    *(Target(f"export-{form}", f"data export {form} data/truth.json --images {PHOTOS} --out o", f"data/truth.json {PHOTOS}/*/*", share=0.5)
      for form in FORMATS),
    Target("export-fold", f"data export yolo fixed.json --split split.json --fold 1 --images {PHOTOS} --out o", "split.json", f"fixed.json {PHOTOS}"),
    Target("masks", "data masks data/truth.json --out o", "data/truth.json"),
    Target("masks-classes", "data masks data/truth.json --classes classes.json --size 32 --out o", "classes.json data/truth.json"),
    Target("taco", "data taco --annotations taco.json --out o --tries 1 --timeout 1 --rate 50", "taco.json", share=0.5),
    # splits
    Target("split", "split fixed.json --folds 2 --trials 200 --out o.json", "fixed.json"),
    Target("split-photos", f"split fixed.json --folds 2 --trials 200 --images {PHOTOS} --test more.json --encoder none --out o.json",
           f"{PHOTOS}/*/* more.json", "fixed.json"),
    Target("split-groups", "split fixed.json --folds 2 --trials 200 --groups file:groups.json --out o.json", "groups.json", "fixed.json"),
    Target("split-groups-lines", "split fixed.json --folds 2 --trials 200 --groups file:groups.csv --out o.json", "groups.csv", "fixed.json"),
    Target("split-field", "split fixed.json --folds 2 --trials 200 --groups field:license --out o.json", "fixed.json"),
    Target("split-show", "split show split-now.json --data fixed.json --html o.html", "split-now.json", "fixed.json"),
    Target("split-show-earlier", "split show split.json", "split.json"),
    Target("split-check", "split check split.json --data fixed.json --groups file:groups.json", "split.json groups.json", "fixed.json"),
    Target("split-check-csv", "split check folds.csv --data fixed.json", "folds.csv", "fixed.json"),
    Target("split-check-list", "split check list.txt --data fixed.json", "list.txt", "fixed.json"),
    Target("split-check-folder", "split check folds --data fixed.json", "folds/*/*", "fixed.json"),
    Target("split-export", "split export split.json --data fixed.json --out o", "split.json fixed.json"),
    # settings and runs
    Target("recipe", "recipes show small.toml", "small.toml", share=2),
    Target("recipe-run", "recipes show run/settings.toml", "run/settings.toml"),
    Target("train-recipe", f"train --data fixed.json --images {PHOTOS} --recipe small.toml --out o --dry-run", "small.toml",
           f"fixed.json {PHOTOS}", torch=True),
    Target("train-augment", f"train --data fixed.json --images {PHOTOS} --recipe augment.toml --recipe small.toml --out o --dry-run",
           "augment.toml augment.yaml", f"small.toml fixed.json {PHOTOS}", torch=True),
    Target("train-data", f"train --data fixed.json --images {PHOTOS} --recipe small.toml --split split.json --out o --dry-run "
           f"--extra data/truth.json:{PHOTOS}:0.5", f"fixed.json split.json data/truth.json {PHOTOS}/*/*", "small.toml", torch=True),
    Target("train-init", f"train --data fixed.json --images {PHOTOS} --recipe small.toml --init run --out o --dry-run",
           "run/manifest.json run/checkpoints/*", f"small.toml fixed.json {PHOTOS} run", torch=True),
    Target("train-resume", f"train --data fixed.json --images {PHOTOS} --recipe run/settings.toml --split split.json --out run --dry-run --resume",
           "run/manifest.json run/settings.toml run/metrics.jsonl run/checkpoints/*", f"fixed.json {PHOTOS} run split.json", torch=True),
    Target("sweep-space", f"sweep --data fixed.json --images {PHOTOS} --recipe small.toml --space space.toml --trials 1 --set epochs=1 --out o",
           "space.toml", f"small.toml fixed.json {PHOTOS}", torch=True, share=0.2),
    Target("runs", "runs .", "run/manifest.json run/metrics.jsonl run/settings.toml pseudo/joint/*", "run pseudo", share=2),
    Target("report", f"report run pseudo/joint --data fixed.json --images {PHOTOS} --out o.html",
           "run/*.* run/oof/* pseudo/joint/*", f"run pseudo fixed.json {PHOTOS}", share=2),
    Target("soup", f"soup run again --data fixed.json --images {PHOTOS} --out o", "run/manifest.json run/checkpoints/* run/settings.toml",
           f"run again fixed.json {PHOTOS}", torch=True),
    Target("pseudo", f"pseudo run --data fixed.json --images {PHOTOS} --unlabeled data/test.json --recipe small.toml --size 32 --out o --dry-run",
           "run/manifest.json run/settings.toml data/test.json small.toml", f"run fixed.json {PHOTOS}", torch=True),
    Target("pseudo-store", f"pseudo test-store --data fixed.json --images {PHOTOS} --unlabeled data/test.json --recipe small.toml --size 32 "
           "--all-data --out o --dry-run", STORE, f"data/test.json small.toml fixed.json run {PHOTOS}", torch=True),
    # predictions
    Target("predict", f"predict run --data data/test.json --images {PHOTOS} --size 32 --out o",
           f"run/manifest.json run/checkpoints/* data/test.json {PHOTOS}/*/*", "run", torch=True),
    Target("predict-photos", "predict run data/images --overlay o", f"run/manifest.json {PHOTOS}/*/*", "run", torch=True),
    Target("predict-resume", f"predict run --data data/test.json --images {PHOTOS} --size 32 --out test-store --resume", STORE,
           f"run data/test.json {PHOTOS}", torch=True),
    Target("ensemble", "ensemble test-store mix --out o", f"{STORE} mix/*", share=2),
    Target("ensemble-fit", "ensemble truth-store other-store --fit fixed.json --out o", "truth-store/* fixed.json", "other-store", share=0.3),
    Target("ensemble-like", "ensemble test-store mix --like mix --out o", "mix/zarr.json", STORE + " mix"),
    Target("ensemble-resume", "ensemble test-store mix --out both --resume", "both/*", STORE + " mix"),
    Target("postprocess", "postprocess test-store --step despeckle=3 --step min-area=3 --out o", STORE),
    Target("postprocess-presence", "postprocess test-store --presence presence-test.json --out o", "presence-test.json", STORE),
    Target("sheets", f"sheets mix big.csv mix-coco.json --data data/test.json --images {PHOTOS} --most 2 --side 64 --out o",
           f"big.csv mix-coco.json mix/* {PHOTOS}/*/*", "data/test.json"),
    # scores and submissions
    Target("score", "score test-store --truth data/truth.json --size 32", f"{STORE} data/truth.json", share=2),
    Target("score-native", "score mix --truth data/truth.json --native", "mix/* data/truth.json"),
    Target("score-csv", "score submission.csv --truth data/truth.json --size 32 --csv-size 32", "submission.csv data/truth.json"),
    Target("score-coco", "score mix-coco.json --truth data/truth.json --size 32", "mix-coco.json data/truth.json"),
    Target("score-run", "score run --truth fixed.json --partial", "run/manifest.json run/oof/* run/validation.npz", "run fixed.json"),
    Target("compare", "compare test-store mix --truth data/truth.json --size 32 --resamples 100", f"{STORE} data/truth.json", "mix"),
    Target("submit", f"submit test-store {TEST} --sample sample.csv --against submission.csv --train fixed.json --out o.csv",
           f"{STORE} sample.csv submission.csv fixed.json", "data/test.json", share=2),
    *(Target(f"submit-{profile}", f"submit test-store --data data/test.json --profile {profile} --out o{suffix}", STORE, "data/test.json", share=0.5)
      for profile, suffix in (("kaggle-rle", ".csv"), ("png", ""), ("coco-results", ".json"))),
    *(Target(f"submit-profile-{name}", f"submit test-store --data data/test.json --profile {name} --out o{suffix}", name, f"{STORE} data/test.json")
      for name, suffix in (("csv.toml", ".csv"), ("rle.toml", ".csv"), ("png.json", ""))),
    Target("check", f"submit check submission.csv {TEST} --against mix.csv", "submission.csv mix.csv data/test.json", share=2),
    Target("check-rle", "submit check rle.csv --data data/test.json --profile kaggle-rle", "rle.csv", "data/test.json"),
    Target("check-png", "submit check predicted-png --data data/test.json --profile png", "predicted-png/**/*", "data/test.json"),
    Target("check-results", "submit check results.json --data data/test.json --profile coco-results", "results.json", "data/test.json"),
    Target("diff", f"submit diff submission.csv mix.csv {TEST} --images {PHOTOS} --html o.html", f"submission.csv {PHOTOS}/*/*", "mix.csv data/test.json"),
    Target("diff-png", "submit diff predicted-png predicted-png --data data/test.json --profile png", "predicted-png/**/*", "data/test.json"),
    Target("from-coco", f"submit from-coco mix-coco.json {TEST} --out o.csv", "mix-coco.json", "data/test.json", share=2),
    Target("from-results", f"submit from-coco results.json {TEST} --out o.csv", "results.json", "data/test.json"),
    Target("to-coco", f"submit to-coco submission.csv {TEST} --out o.json", "submission.csv data/test.json"),
    Target("to-coco-rle", "submit to-coco rle.csv --data data/test.json --profile kaggle-rle --out o.json", "rle.csv", "data/test.json"),
    Target("vote", f"submit vote mix.csv submission.csv {TEST} --out o.csv", "submission.csv mix.csv", "data/test.json"),
    Target("trace", "submit trace submission.csv --in data --settings", "submission.csv.json edits.jsonl run/manifest.json",
           "submission.csv run test-store data"),
    Target("trace-vote", "submit trace voted.csv --in .", "voted.csv.json mix.csv.json submission.csv.json", "voted.csv mix.csv submission.csv"),
    Target("leaderboard", "leaderboard list", "leaderboard.jsonl", share=2),
    Target("leaderboard-proxy", "leaderboard proxy --split split.json", "leaderboard.jsonl leaderboard.evidence/* split.json", share=2),
    Target("leaderboard-plot", "leaderboard plot --html o.html", "leaderboard.jsonl leaderboard.evidence/*"),
    Target("leaderboard-add", "leaderboard add mix.csv --public 0.5 --size 32 --run run --truth fixed.json --split split.json",
           "leaderboard.jsonl mix.csv mix.csv.json run/manifest.json run/oof/* split.json", "run fixed.json leaderboard.evidence"),
)  # fmt: skip

if find_spec("onnx") and find_spec("onnxruntime"):
    TARGETS += (
        Target(
            "onnx-photos",
            "predict model.onnx data/images --overlay o --label-maps",
            f"model.onnx {PHOTOS}/*/*",
            share=2,
        ),
        Target(
            "onnx-store",
            f"predict model.onnx --data data/test.json --images {PHOTOS} --size 32 --out o",
            "model.onnx data/test.json",
            PHOTOS,
        ),
    )

BY_NAME = {target.name: target for target in TARGETS}
