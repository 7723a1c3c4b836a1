"""The commands whose results are recorded, in the order in which they run.

They run in one folder that `golden_files.set_up` fills:

    data/       train.json, test.json, truth.json (labels of the test part), images/, sample.csv
    settings/   trashkit.toml, small.toml (a recipe of 8,563 weights), presence.json, wrong files

`CORE` needs neither torch nor a trained network: its predictions are drawn by numpy from the true label maps, so the
numbers are the same on every machine. `TRAINING` trains on what `CORE` left and predicts with it; its numbers depend
on the versions of torch and timm. Nothing here imports trashkit.
"""

# ruff: noqa: E501  a command is easier to read on one line
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from golden_files import (
    MODELS,
    SIZE,
    copy_photos,
    copy_run,
    damage_submission,
    draw_all_predictions,
    edit_by_hand,
    other_test_file,
    reject_fixes,
    split_that_leaks,
    two_reviewers,
    write_presence,
)


@dataclass(frozen=True)
class Step:
    """One command.

    name: unique. command: its words as a shell would read them. prepare: changes files before it runs; takes the
    folder of the story.
    """

    name: str
    command: str
    prepare: Callable[[Path], None] | None = None


FORMATS = ("coco", "yolo", "labelme", "cvat", "label-studio", "voc", "cityscapes", "ade20k", "mmsegmentation", "masks",
           "huggingface")  # fmt: skip
SOURCES = {"coco": "train.json", "cvat": "annotations.xml", "label-studio": "tasks.json"}
"""Formats that are read from a file of the exported folder, not from the folder."""

CORE: tuple[Step, ...] = (
    # audit
    Step("audit", "audit data/train.json --json"),
    Step("audit-photos",
         "audit data/train.json --images data/images --against data/test.json --html work/audit.html --json"),
    Step("audit-github", "audit data/train.json --format github"),
    Step("audit-table", "audit data/train.json"),
    Step("audit-select", "audit data/train.json --select G,S --ignore G003 --fail-on warning --json"),
    Step("audit-by-name", "audit data/train.json --select invalid-ring,L --fail-on never --json"),
    Step("audit-settings", "audit data/train.json --config settings/trashkit.toml --json"),
    Step("audit-wrong-settings", "audit data/train.json --config settings/wrong.toml --json"),
    Step("audit-write-baseline", "audit data/train.json --baseline work/known.json --write-baseline --json"),
    Step("audit-baseline", "audit data/train.json --baseline work/known.json --json"),
    Step("audit-explain", "audit --explain G003"),
    Step("audit-explain-json", "audit --explain all --json"),
    Step("audit-unknown-code", "audit data/train.json --select G999 --json"),
    Step("audit-missing-file", "audit nowhere.json --json"),
    Step("audit-broken-file", "audit settings/broken.json --json"),
    Step("audit-clean", "audit data/truth.json --images data/images --json"),
    # fix
    Step("fix-diff", "fix data/train.json --diff --json"),
    Step("fix-diff-table", "fix data/train.json --unsafe --diff"),
    Step("fix-safe", "fix data/train.json --out work/safe.json --write-edits work/safe.jsonl --json"),
    Step("fix-existing", "fix data/train.json --out work/safe.json --json"),
    Step("fix-itself", "fix work/safe.json --out work/safe.json --overwrite --json"),
    Step("fix-again", "fix work/safe.json --out work/safe-2.json --json"),
    Step("fix-unsafe",
         "fix data/train.json --images data/images --against data/test.json --unsafe --out work/fixed.json "
         "--write-edits work/fixed.jsonl --json"),
    Step("fix-select", "fix data/train.json --unsafe --select G,S013 --ignore G001 --out work/some.json --json"),
    Step("fix-edits", "fix data/train.json --edits work/fixed.jsonl --out work/fixed-by-log.json --json"),
    Step("fix-pin-holes",
         "fix work/fixed.json --despeckle 3 --fill-holes 25 --out work/filled.json --write-edits work/filled.jsonl "
         "--json"),
    Step("fix-no-out", "fix data/train.json --json"),
    Step("audit-fixed", "audit work/fixed.json --images data/images --against data/test.json --json"),
    # edits
    Step("edits-show", "edits work/fixed.jsonl --json"),
    Step("edits-show-kind", "edits show work/fixed.jsonl --kind delete --json"),
    Step("edits-show-table", "edits show work/safe.jsonl"),
    Step("edits-stats", "edits stats work/fixed.jsonl --json"),
    Step("edits-apply", "edits apply data/train.json work/fixed.jsonl --out work/applied.json --json"),
    Step("edits-apply-some",
         "edits apply data/train.json work/fixed.jsonl --kind reshape --skip-dependent --out work/reshaped.json --json"),
    Step("edits-apply-refused", "edits apply work/fixed.json work/fixed.jsonl --out work/twice.json --json"),
    Step("edits-invert", "edits invert data/train.json work/fixed.jsonl --out work/undo.jsonl --json"),
    Step("edits-undo", "edits apply work/fixed.json work/undo.jsonl --out work/undone.json --json"),
    Step("edits-diff",
         "edits diff work/fixed.json work/edited.json --out work/edited.jsonl --author anna --reason cvat --json",
         edit_by_hand),
    Step("edits-diff-exact", "edits diff work/fixed.json work/edited.json --exact --out work/exact.jsonl --json"),
    Step("edits-diff-apply", "edits apply work/fixed.json work/edited.jsonl --out work/edited-again.json --json"),
    Step("edits-merge", "edits merge work/anna.jsonl work/ben.jsonl --out work/both.jsonl --json", two_reviewers),
    Step("edits-one", "edits diff work/fixed.json work/one.json --out work/one.jsonl --author one --json"),
    Step("edits-two", "edits diff work/fixed.json work/two.json --out work/two.jsonl --author two --json"),
    Step("edits-conflict", "edits merge work/one.jsonl work/two.jsonl --out work/one-two.jsonl --json"),
    Step("edits-prefer-first", "edits merge work/one.jsonl work/two.jsonl --prefer-first --out work/first.jsonl --json"),
    Step("edits-not-a-log", "edits stats data/train.json --json"),
    Step("fix-respect", "fix data/train.json --respect work/rejected.jsonl --out work/respect.json --json",
         reject_fixes),
    # split
    Step("split", "split work/fixed.json --folds 2 --images data/images --trials 20000 --out work/split.json --json"),
    Step("split-folder-groups", "split work/fixed.json --folds 2 --groups folder --trials 5000 --out work/by-folder.json --json"),
    Step("split-file-groups",
         "split work/fixed.json --folds 3 --groups file:work/groups.json --weight instances=0 --trials 5000 "
         "--out work/by-group.json --json", split_that_leaks),
    Step("split-holdout", "split work/fixed.json --holdout 0.25 --seed 3 --trials 5000 --out work/holdout.json --json"),
    Step("split-test",
         "split work/fixed.json --folds 3 --repeats 2 --images data/images --test data/test.json --encoder none "
         "--trials 5000 --out work/like-test.json --json"),
    Step("split-peers",
         "split work/fixed.json --folds 3 --trials 5000 --compare-peers --peer-seeds 2 --out work/peers.json --json"),
    Step("split-existing", "split work/fixed.json --out work/split.json --json"),
    Step("split-too-many", "split work/fixed.json --folds 4000 --out work/too-many.json --json"),
    Step("split-show", "split show work/split.json --data work/fixed.json --json"),
    Step("split-show-page", "split show work/split.json --data work/fixed.json --html work/split.html --json"),
    Step("split-check", "split check work/split.json --data work/fixed.json --images data/images --json"),
    Step("split-check-csv", "split check work/folds.csv --data work/fixed.json --images data/images --json"),
    Step("split-check-groups", "split check work/folds.csv --data work/fixed.json --groups file:work/groups.json --json"),
    Step("split-export", "split export work/split.json --data work/fixed.json --out work/folds --json"),
    # data
    Step("data-synth", "data synth --out work/synth --images 20 --size 64 --seed 5 --json"),
    Step("data-synth-too-few", "data synth --out work/few --images 3 --json"),
    Step("data-masks", f"data masks work/fixed.json --size {SIZE} --out work/masks-oof --json"),
    Step("data-masks-test", f"data masks data/truth.json --size {SIZE} --out work/masks-test --json"),
    Step("data-masks-native", "data masks data/truth.json --order class --out work/masks-native --json"),
    *(Step(f"data-export-{form}",
           f"data export {form} data/truth.json --images data/images --out work/export/{form} --json")
      for form in FORMATS),
    Step("data-export-fold",
         "data export mmsegmentation work/fixed.json --images data/images --split work/split.json --fold 1 "
         "--photos link --out work/export/fold --json"),
    *(Step(f"data-import-{form}",
           f"data import {form} work/export/{form}{'/' + SOURCES[form] if form in SOURCES else ''} "
           f"--out work/import/{form}.json --like data/truth.json --json")
      for form in FORMATS),
    Step("data-import-into",
         "data import coco data/truth.json --into work/fixed.json --out work/joined.json --json"),
    Step("data-import-unknown", "data import nothing data/truth.json --out work/nothing.json --json"),
    Step("data-taco-missing", "data taco --annotations nowhere.json --out work/taco --json"),
    # predictions
    *(Step(f"predictions-{model}-{part}",
           f"data import predictions work/drawn/{model}-{part} --data {data} --size {SIZE} "
           f"--out work/stores/{model}-{part} --json",
           draw_all_predictions if (model, part) == ("a", "oof") else None)
      for part, data in (("oof", "work/fixed.json"), ("test", "data/test.json")) for model in MODELS),
    Step("predictions-existing",
         f"data import predictions work/drawn/a-oof --data work/fixed.json --size {SIZE} --out work/stores/a-oof --json"),
    Step("score", f"score work/stores/a-oof --truth work/fixed.json --size {SIZE} --json"),
    Step("score-native", "score work/stores/a-oof --truth work/fixed.json --native --order class --json"),
    Step("score-table", f"score work/stores/a-oof --truth work/fixed.json --size {SIZE}"),
    Step("score-partial", f"score work/stores/a-test --truth data/truth.json --size {SIZE} --partial --json"),
    Step("score-coco", f"score work/import/coco.json --truth data/truth.json --size {SIZE} --json"),
    Step("score-wrong-data", f"score work/stores/a-test --truth work/fixed.json --size {SIZE} --json"),
    Step("score-missing", "score nowhere --truth work/fixed.json --json"),
    Step("compare",
         f"compare work/stores/a-oof work/stores/b-oof --truth work/fixed.json --size {SIZE} --resamples 200 --json"),
    Step("compare-seed",
         f"compare work/stores/a-oof work/stores/c-oof --truth work/fixed.json --size {SIZE} --resamples 200 --seed 3 "
         "--level 0.9 --json"),
    Step("audit-predictions",
         "audit work/fixed.json --images data/images --predictions work/stores/a-oof --select P --fail-on never "
         "--html work/label-errors.html --json"),
    Step("fix-predictions",
         "fix work/fixed.json --predictions work/stores/a-oof --unsafe --select P --diff --json"),
    # ensemble
    Step("ensemble", "ensemble work/stores/a-test work/stores/b-test --out work/stores/mean --json"),
    Step("ensemble-weighted",
         "ensemble work/stores/a-test work/stores/b-test --method weighted --weights 2,1 --out work/stores/weighted "
         "--dtype float16 --json"),
    Step("ensemble-geometric",
         "ensemble work/stores/a-test work/stores/b-test work/stores/c-test --method geometric "
         "--out work/stores/geometric --json"),
    Step("ensemble-vote",
         "ensemble work/stores/a-test work/stores/b-test work/stores/c-test --method vote --out work/stores/vote --json"),
    Step("ensemble-oof", "ensemble work/stores/a-oof work/stores/b-oof --out work/stores/mean-oof --json"),
    Step("ensemble-fit",
         "ensemble work/stores/a-oof work/stores/b-oof work/stores/c-oof --fit work/fixed.json "
         "--out work/stores/mix-oof --json"),
    Step("ensemble-like",
         "ensemble work/stores/a-test work/stores/b-test work/stores/c-test --like work/stores/mix-oof "
         "--out work/stores/mix --json"),
    Step("ensemble-resume", "ensemble work/stores/a-test work/stores/b-test --out work/stores/mean --resume --json"),
    Step("ensemble-existing", "ensemble work/stores/a-test work/stores/b-test --out work/stores/mean --json"),
    Step("ensemble-unlike", "ensemble work/stores/a-test work/stores/a-oof --out work/stores/unlike --json"),
    Step("ensemble-unknown", "ensemble work/stores/a-test work/stores/b-test --method nothing --out work/stores/n --json"),
    # postprocess
    Step("postprocess",
         "postprocess work/stores/mean --step despeckle=3 --step fill-holes=20 --step min-area=30 "
         "--step one-class=80 --out work/stores/clean --json"),
    Step("postprocess-presence",
         "postprocess work/stores/mean --presence settings/presence.json --power 0.5 --step min-area=Paper:10 "
         "--out work/stores/weighed --json", write_presence),
    Step("postprocess-unknown", "postprocess work/stores/mean --step nothing=1 --out work/stores/n --json"),
    # submit
    Step("submit", f"submit work/stores/a-test --data data/test.json --size {SIZE} --out work/a.csv --json"),
    Step("submit-checks",
         f"submit make work/stores/mean --data data/test.json --size {SIZE} --sample data/sample.csv "
         "--train work/fixed.json --against work/a.csv --out work/mean.csv --json"),
    *(Step(f"submit-{name}",
           f"submit work/stores/{name} --data data/test.json --size {SIZE} --out work/{name}.csv --json")
      for name in ("b-test", "c-test", "weighted", "geometric", "vote", "clean", "weighed")),
    Step("submit-png", "submit work/stores/mean --data data/test.json --profile png --out work/mean-png --json"),
    Step("submit-rle", "submit work/stores/mean --data data/test.json --profile kaggle-rle --out work/rle.csv --json"),
    Step("submit-coco-results",
         "submit work/stores/mean --data data/test.json --profile coco-results --out work/results.json --json"),
    Step("submit-existing", f"submit work/stores/a-test --data data/test.json --size {SIZE} --out work/a.csv --json"),
    Step("submit-check",
         f"submit check work/mean.csv --data data/test.json --size {SIZE} --train work/fixed.json "
         "--against work/a.csv --json"),
    Step("submit-check-bad", f"submit check work/bad.csv --data data/test.json --size {SIZE} --json", damage_submission),
    Step("submit-check-other",
         f"submit check work/a.csv --data work/other-test.json --size {SIZE} --json", other_test_file),
    Step("submit-diff",
         f"submit diff work/a.csv work/mean.csv --data data/test.json --size {SIZE} --images data/images "
         "--html work/diff.html --json"),
    Step("submit-diff-png", "submit diff work/mean-png work/mean-png --data data/test.json --profile png --json"),
    Step("submit-to-coco",
         f"submit to-coco work/mean.csv --data data/test.json --size {SIZE} --out work/mean-coco.json --json"),
    Step("submit-from-coco",
         f"submit from-coco work/mean-coco.json --data data/test.json --size {SIZE} --out work/mean-again.csv --json"),
    Step("submit-vote",
         f"submit vote work/a.csv work/b-test.csv work/c-test.csv --weights 2,1,1 --data data/test.json --size {SIZE} "
         "--out work/voted.csv --json"),
    Step("submit-trace", "submit trace work/mean.csv --json"),
    Step("submit-trace-vote", "submit trace work/voted.csv --in work --settings --json"),
    Step("submit-trace-unknown", "submit trace data/sample.csv --json"),
    Step("score-csv", f"score work/mean.csv --truth data/truth.json --size {SIZE} --csv-size {SIZE} --json"),
    Step("compare-csv",
         f"compare work/a.csv work/mean.csv --truth data/truth.json --size {SIZE} --csv-size {SIZE} --resamples 200 "
         "--json"),
    # leaderboard
    Step("leaderboard-empty", "leaderboard --json"),
    Step("leaderboard-add",
         f"leaderboard add work/a.csv --public 0.41 --private 0.39 --oof work/stores/a-oof --truth work/fixed.json "
         f"--split work/split.json --size {SIZE} --json"),
    Step("leaderboard-add-same", f"leaderboard add work/a.csv --public 0.41 --size {SIZE} --json"),
    Step("leaderboard-add-other-score", f"leaderboard add work/a.csv --public 0.42 --size {SIZE} --json"),
    Step("leaderboard-add-b",
         f"leaderboard add work/b-test.csv --public 0.33 --oof work/stores/b-oof --truth work/fixed.json "
         f"--run model-b --size {SIZE} --json"),
    Step("leaderboard-proxy-few", "leaderboard proxy --json"),
    Step("leaderboard-add-c",
         f"leaderboard add work/c-test.csv --public 0.25 --oof work/stores/c-oof --truth work/fixed.json --size {SIZE} "
         "--json"),
    Step("leaderboard-add-mean",
         f"leaderboard add work/mean.csv --public 0.43 --name average --oof work/stores/mean-oof "
         f"--truth work/fixed.json --size {SIZE} --json"),
    Step("leaderboard-add-vote",
         f"leaderboard add work/vote.csv --public 0.40 --oof work/stores/b-oof --truth work/fixed.json --size {SIZE} --json"),
    Step("leaderboard-add-candidate",
         f"leaderboard add work/geometric.csv --oof work/stores/mean-oof --truth work/fixed.json --size {SIZE} --json"),
    Step("leaderboard-add-score-only",
         f"leaderboard add work/weighted.csv --public 0.42 --validation 0.5 --size {SIZE} --json"),
    Step("leaderboard-add-private", f"leaderboard add work/b-test.csv --private 0.31 --size {SIZE} --json"),
    Step("leaderboard-add-no-score", f"leaderboard add work/clean.csv --public 1.5 --size {SIZE} --json"),
    Step("leaderboard", "leaderboard list --json"),
    Step("leaderboard-table", "leaderboard"),
    Step("leaderboard-proxy", "leaderboard proxy --json"),
    Step("leaderboard-proxy-split",
         "leaderboard proxy --split work/like-test.json --history --level 0.9 --seed 2 --json"),
    Step("leaderboard-plot", "leaderboard plot --html work/leaderboard.html --json"),
    # pages, sheets, settings and the rest
    Step("review-page",
         "review data/train.json --images data/images --findings results/audit-photos.json --html work/review.html"),
    Step("review-page-predictions",
         "review work/fixed.json --images data/images --predictions work/stores/a-oof --html work/review-p.html"),
    Step("review-no-log", "review data/train.json --images data/images"),
    Step("sheets",
         "sheets work/stores/a-oof work/stores/b-oof --data work/fixed.json --images data/images --most 3 --side 96 "
         "--out work/sheets --json"),
    Step("recipes", "recipes --json"),
    Step("recipes-show", "recipes show tiny --json"),
    Step("recipes-show-file", "recipes show settings/small.toml --json"),
    Step("recipes-unknown", "recipes show tini --json"),
    Step("runs-none", "runs work --json"),
    Step("doctor", "doctor --offline --json"),
    Step("version", "--version"),
    Step("help", "--help"),
    Step("no-command", ""),
    Step("unknown-command", "audti data/train.json"),
    Step("unknown-subcommand", "split serach work/fixed.json"),
    Step("unknown-option", "score work/a.csv --truht data/truth.json"),
    Step("missing-option", "score work/a.csv"),
    Step("missing-argument", "fix --out work/none.json"),
    Step("wrong-choice", "audit data/train.json --fail-on nothing"),
    Step("wrong-number", "split work/fixed.json --folds many --out work/none.json"),
    Step("resume-and-overwrite",
         "ensemble work/stores/a-test work/stores/b-test --out work/stores/mean --resume --overwrite --json"),
)  # fmt: skip

SLOW = {"split-peers", "ensemble-fit", "ensemble-like", "doctor"}
"""Steps of `CORE` that take long and on whose files no other step of it depends, but for one another."""

DATA = "--data work/fixed.json --images data/images"
SMALL = "--recipe settings/small.toml"

TRAINING: tuple[Step, ...] = (
    Step("train-dry-run", f"train {DATA} {SMALL} --split work/split.json --fold all --out work/runs/none --dry-run --json"),
    Step("train-suggest", f"train {DATA} {SMALL} --suggest --json"),
    Step("train-preview",
         f"train {DATA} {SMALL} --set data.copy_paste.p=0.5 --preview work/preview.png --json"),
    Step("train-profile", f"train {DATA} {SMALL} --profile 2 --json"),
    Step("train-no-out", f"train {DATA} {SMALL} --json"),
    Step("train-wrong-settings",
         f"train {DATA} {SMALL} --set epoch=3 --set optimiser.name=adamv --set loss=dise --out work/runs/none --json"),
    Step("train-unknown-recipe", f"train {DATA} --recipe tinny --out work/runs/none --json"),
    Step("train-missing-photos", f"train --data work/fixed.json --images settings {SMALL} --out work/runs/none --json"),
    Step("train-folds",
         f"train {DATA} {SMALL} --recipe settings/other.toml --split work/split.json --fold all --jobs 1 "
         "--out work/runs/folds --json"),
    Step("train-existing", f"train {DATA} {SMALL} --split work/split.json --fold 0 --out work/runs/folds/small/fold-0 --json"),
    Step("train-resume",
         f"train {DATA} {SMALL} --recipe settings/other.toml --split work/split.json --fold all --jobs 1 "
         "--out work/runs/folds --resume --json"),
    Step("train-resume-other",
         f"train {DATA} {SMALL} --set epochs=5 --split work/split.json --fold 0 --out work/runs/folds/small/fold-0 "
         "--resume --json"),
    Step("train-held-out",
         f"train {DATA} {SMALL} --seed 4 --set data.copy_paste.p=0.5 --set data.mosaic=0.3 --set model.presence=0.1 "
         "--set schedule.name=cosine --set class_weights=effective --track none --out work/runs/held-out --json"),
    Step("train-all-data",
         f"train {DATA} {SMALL} --all-data --init work/runs/folds/small/fold-0 --set optimiser.name=sgd "
         "--extra data/truth.json:data/images:0.5 --out work/runs/all --json"),
    Step("runs", "runs work/runs --json"),
    Step("runs-table", "runs work/runs"),
    Step("report", "report work/runs/folds/small/fold-0 work/runs/folds/other/fold-0 --out work/report.html --json"),
    Step("report-not-a-run", "report work/stores --json"),
    Step("score-run", "score work/runs/folds/small --truth work/fixed.json --json"),
    Step("compare-runs",
         "compare work/runs/folds/small work/runs/folds/other --truth work/fixed.json --resamples 200 --json"),
    Step("audit-run", "audit work/fixed.json --predictions work/runs/folds/small --select P --fail-on never --json"),
    Step("predict",
         f"predict work/runs/folds/small/fold-0 --data data/test.json --images data/images --size {SIZE} "
         "--out work/stores/small-0 --json"),
    Step("predict-folds",
         f"predict work/runs/folds/small/fold-0 work/runs/folds/other/fold-1 --data data/test.json --images data/images "
         f"--size {SIZE} --tta flip --dtype float16 --out work/stores/two --json"),
    Step("predict-resume",
         f"predict work/runs/folds/small/fold-0 --data data/test.json --images data/images --size {SIZE} "
         "--out work/stores/small-0 --resume --json"),
    Step("predict-scales",
         f"predict work/runs/held-out --data data/test.json --images data/images --size {SIZE} --tta scales-flip --zoom 2 "
         "--out work/stores/scales --json"),
    Step("predict-overlay", "predict work/runs/all work/photos --overlay work/overlays --label-maps --json",
         copy_photos),
    Step("predict-not-a-run", "predict work/photos --overlay work/none --json"),
    Step("export", "export work/runs/all --onnx work/all.onnx --images work/photos --json"),
    Step("predict-onnx", "predict work/all.onnx work/photos --overlay work/overlays-onnx --json"),
    Step("predict-onnx-store",
         f"predict work/all.onnx --data data/test.json --images data/images --size {SIZE} --out work/stores/onnx --json"),
    Step("soup",
         "soup work/runs/folds/small/fold-0 work/runs/again/fold-0 --method uniform --out work/runs/soup --json",
         copy_run),
    Step("soup-greedy",
         f"soup work/runs/folds/small/fold-0 work/runs/again/fold-0 {DATA} --out work/runs/soup-greedy --json"),
    Step("sweep",
         f"sweep {DATA} {SMALL} --split work/split.json --fold 1 --try optimiser.lr=1e-3..1e-2:log --try 'loss=ce|ce + dice' "
         "--trials 2 --out work/sweep --json"),
    Step("sweep-nothing", f"sweep {DATA} {SMALL} --out work/sweep-none --json"),
    Step("pseudo-dry-run",
         f"pseudo work/runs/folds/small {DATA} --unlabeled data/test.json {SMALL} --size {SIZE} --dry-run "
         "--out work/runs/pseudo --json"),
    Step("pseudo",
         f"pseudo work/runs/folds/small/fold-0 {DATA} --unlabeled data/test.json {SMALL} --size {SIZE} --threshold 0.2 "
         "--at-least 0.5 --balance --tta flip --stage clean.epochs=0.5 --out work/runs/pseudo --json"),
    Step("pseudo-soft",
         f"pseudo work/stores/two {DATA} --unlabeled data/test.json {SMALL} --size {SIZE} --strategy joint --targets soft "
         "--threshold 0 --all-data --out work/runs/pseudo-soft --json"),
    Step("pseudo-finetune",
         f"pseudo work/runs/folds/small/fold-0 {DATA} --unlabeled data/test.json {SMALL} --size {SIZE} "
         "--strategy finetune --measure margin --threshold 0.1 --out work/runs/pseudo-fine --json"),
    Step("pseudo-unknown", f"pseudo work/runs/folds/small {DATA} --unlabeled data/test.json --strategy no --out work/n --json"),
    Step("predict-pseudo",
         f"predict work/runs/pseudo --data data/test.json --images data/images --size {SIZE} --out work/stores/pseudo --json"),
    Step("submit-pseudo",
         f"submit work/stores/pseudo --data data/test.json --size {SIZE} --out work/pseudo.csv --train work/fixed.json --json"),
    Step("submit-trace-pseudo", "submit trace work/pseudo.csv --in work --settings --json"),
    Step("leaderboard-add-run",
         f"leaderboard add work/pseudo.csv --public 0.1 --run work/runs/pseudo --truth work/fixed.json "
         f"--split work/split.json --size {SIZE} --json"),
    Step("review-pseudo",
         "review work/fixed.json --images data/images --predictions work/runs/pseudo --test data/test.json "
         "--html work/review-pseudo.html"),
    Step("presence",
         "presence work/fixed.json --images data/images --split work/split.json --encoder tu-tf_efficientnet_lite0 "
         "--size 64 "
         "--out work/presence.json --json"),
    Step("presence-test",
         "presence work/fixed.json --images data/images --test data/test.json --encoder tu-tf_efficientnet_lite0 --size 64 "
         "--out work/presence-test.json --json"),
    Step("postprocess-presence-made",
         "postprocess work/stores/pseudo --presence work/presence-test.json --out work/stores/pseudo-weighed --json"),
    Step("split-encoder",
         "split work/fixed.json --folds 2 --images data/images --test data/test.json --encoder work/runs/folds/small/fold-0 "
         "--trials 2000 --out work/encoder.json --json"),
)  # fmt: skip
