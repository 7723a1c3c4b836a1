"""Compare the audit with other tools on one file: time, memory, and what each finds and misses.

    python tests/benchmarks/bench_audit.py ANN.json [PYTHON_WITH_PEERS]

The other tools (datumaro, supervision; pycocotools and shapely for the plain loop) may be installed in another
environment, given by its python. Each tool runs in a separate process for at most LIMIT seconds. supervision decodes
and keeps every mask at the photo's size, so it gets only the first 40 images.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT = 300

TRASHKIT = """
import json, sys
from trashkit.audit import audit
from trashkit.coco import read
result = audit(read(sys.argv[1]))
names = {"S011": "duplicate ids", "G003": "invalid rings", "G010": "out of bounds", "G022": "wrong area",
         "G030": "sibling overlap", "G005": "repeated vertex", "G024": "lost at 512", "L004": "class overlap"}
by = result.summary["by_code"]
print(json.dumps({name: by.get(code, 0) for code, name in names.items()}
                 | {"other": sum(n for code, n in by.items() if code not in names)}))
"""

PLAIN = """
import json, sys
import numpy as np, shapely
data = json.load(open(sys.argv[1]))
size = {i["id"]: (i["width"], i["height"]) for i in data["images"]}
found = dict.fromkeys(("duplicate ids", "invalid rings", "out of bounds", "wrong area", "sibling overlap",
                       "repeated vertex", "lost at 512", "class overlap"), 0)
seen, by_image = set(), {}
for a in data["annotations"]:
    found["duplicate ids"] += a["id"] in seen
    seen.add(a["id"])
    w, h = size[a["image_id"]]
    rings = [np.reshape(r, (-1, 2)) for r in a["segmentation"]]
    polygons = [shapely.Polygon(r) for r in rings]
    found["invalid rings"] += not all(p.is_valid for p in polygons)
    found["out of bounds"] += any((r < 0).any() or (r > (w, h)).any() for r in rings)
    found["repeated vertex"] += any((r[1:] == r[:-1]).all(axis=1).any() for r in rings)
    polygons = [p if p.is_valid else shapely.make_valid(p).buffer(0) for p in polygons]
    union = shapely.union_all(polygons)
    found["wrong area"] += abs(union.area - a["area"]) > 0.01 * union.area
    found["lost at 512"] += 0 < union.area * min(512 / max(w, h), 1) ** 2 < 4
    found["sibling overlap"] += any(p.intersection(q).area > 1 for n, p in enumerate(polygons) for q in polygons[:n])
    by_image.setdefault(a["image_id"], []).append((a["category_id"], union))
for shapes in by_image.values():
    for n, (c, p) in enumerate(shapes):
        for d, q in shapes[:n]:
            if c != d and p.intersects(q):
                shared = p.intersection(q).area
                found["class overlap"] += shared / (p.area + q.area - shared) > 0.5
print(json.dumps({k: int(v) for k, v in found.items()}))
"""

PYCOCOTOOLS = """
import contextlib, io, json, sys
from pycocotools.coco import COCO
with contextlib.redirect_stdout(io.StringIO()):
    coco = COCO(sys.argv[1])
lost = len(coco.dataset["annotations"]) - len(coco.anns)
wrong = sum(abs(float(coco.annToMask(a).sum()) - a["area"]) > 0.01 * a["area"] for a in coco.anns.values())
print(json.dumps({"other": int(wrong), "note": f"drops {lost} rows in silence; pixels off area: {wrong}, all sizes"}))
"""

DATUMARO = """
import collections, json, os, shutil, sys, tempfile
import datumaro
from datumaro.plugins.validators import SegmentationValidator
def validate(path):
    folder = tempfile.mkdtemp()
    os.makedirs(folder + "/annotations"); os.makedirs(folder + "/images")
    shutil.copy(path, folder + "/annotations/instances_all.json")
    dataset = datumaro.Dataset.import_from(folder, "coco_instances")
    validator = SegmentationValidator(few_samples_thr=10, imbalance_ratio_thr=50, far_from_mean_thr=5,
                                      dominance_ratio_thr=0.8, topk_bins=0.1)
    return validator.validate(dataset)["validation_reports"]
note = ""
try:
    reports = validate(sys.argv[1])
except Exception as error:
    note = f"as it is: {type(error).__name__}; category ids moved off 0 by hand; "
    data = json.load(open(sys.argv[1]))
    for row in data["categories"]: row["id"] += 1
    for row in data["annotations"]: row["category_id"] += 1
    path = tempfile.mktemp(suffix=".json")
    json.dump(data, open(path, "w"))
    reports = validate(path)
kinds = collections.Counter(report["anomaly_type"] for report in reports)
print(json.dumps({"other": len(reports), "note": note + ", ".join(f"{n} {k}" for k, n in kinds.most_common(4))}))
"""

SUPERVISION = """
import json, sys, tempfile
import supervision
data = json.load(open(sys.argv[1]))
data["images"] = data["images"][:40]
kept = {i["id"] for i in data["images"]}
data["annotations"] = [a for a in data["annotations"] if a["image_id"] in kept]
path = tempfile.mktemp(suffix=".json")
json.dump(data, open(path, "w"))
made = supervision.DetectionDataset.from_coco(images_directory_path="/tmp", annotations_path=path)
print(json.dumps({"note": f"40 images only: {sum(map(len, made.annotations.values()))} masks, no report at all"}))
"""

COLUMNS = ("duplicate ids", "invalid rings", "out of bounds", "wrong area", "sibling overlap", "repeated vertex",
           "lost at 512", "class overlap", "other")  # fmt: skip


def measured(python: str, script: str, path: str) -> tuple[float, float, float, dict[str, Any]]:
    """Wall seconds, CPU seconds, peak MiB of the largest process, and what the script printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(["timeout", str(LIMIT), python, "-c", script, path], stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        lines, errors = out.read().splitlines(), err.read().strip().splitlines()
    answer = json.loads(lines[-1]) if process.returncode == 0 and lines else None
    if answer is None:
        over = process.returncode == 124
        answer = {"note": f"over {LIMIT} s" if over else (errors[-1][:90] if errors else "ended from outside")}
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, answer


def main() -> None:
    path = str(Path(sys.argv[1]).resolve())
    peers = sys.argv[2] if len(sys.argv) > 2 else sys.executable
    print(f"| way | wall s | CPU s | MiB | {' | '.join(COLUMNS)} | |")
    print("|---" * (len(COLUMNS) + 5) + "|")
    for name, python, script in (
        ("trashkit audit", sys.executable, TRASHKIT),
        ("plain loop, shapely", peers, PLAIN),
        ("pycocotools loop", peers, PYCOCOTOOLS),
        ("Datumaro validate", peers, DATUMARO),
        ("supervision from_coco", peers, SUPERVISION),
    ):
        wall, cpu, mib, answer = measured(python, script, path)
        cells = " | ".join(str(answer.get(column, "–")) for column in COLUMNS)
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {mib:.0f} | {cells} | {answer.get('note', '')} |", flush=True)


if __name__ == "__main__":
    main()
