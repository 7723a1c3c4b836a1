"""Saved views of a review's data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import count
from typing import Any

from fiftyone import ViewField

from trashkit.review.app_text import as_stored
from trashkit.review.fiftyone_app import private_api
from trashkit.review.fiftyone_app.sample_documents import ANNOTATIONS
from trashkit.review.session import ReviewSession, severity_key

WORST_FIRST, STILL_OPEN, SHARED = "all findings, worst first", "still open", "shared cases"
MOST_LETTERS_OF_A_VIEW = 100
MAX_CLASS_VIEWS = 80
"""How many classes get their own view, by number of findings."""


def save_views(dataset: Any, session: ReviewSession) -> None:
    """Save views worst first: all findings, open ones, and one view per code and per class with findings."""
    with_findings = dataset.match(ViewField("findings") > 0).sort_by("worst", reverse=True)
    dataset.save_view(WORST_FIRST, with_findings)
    dataset.save_view(STILL_OPEN, dataset.match(ViewField("open") > 0).sort_by("worst", reverse=True))
    dataset.save_view("with a note", dataset.match(ViewField("note") != ""))
    groups = dataset.match(ViewField("group") != "").sort_by("group")
    if groups.count():
        dataset.save_view("duplicates side by side", groups, description="duplicate images, group by group")
    _save_code_views(dataset, session)
    classes = Counter(filter(None, map(session.finding_class, session.order))).most_common(MAX_CLASS_VIEWS)
    names = view_names([f"class {name}" for name, _ in classes], dataset.list_saved_views())
    for (name, number), view_name in zip(classes, names, strict=True):
        of_class = (ViewField("label") == name) & (ViewField("codes").length() > 0)
        view = with_findings.filter_labels(ANNOTATIONS, of_class)
        dataset.save_view(view_name, view, description=f"{number} findings, worst first")


def view_names(wanted: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Names of views like these that have different addresses, which are their ASCII letters and digits only.

    So "class 종이" and "class 금속" get numbers, as do "class PET" and "class pet". Long names are cut. taken: names of
    other views.
    """
    addresses = {"", *map(private_api.address_of_view, taken)}
    names = []
    for name in wanted:
        short = name if len(name) <= MOST_LETTERS_OF_A_VIEW else f"{name[:MOST_LETTERS_OF_A_VIEW]}…"
        tries = (short if n == 1 else f"{short} ({n})" for n in count(1))
        names.append(next(one for one in tries if private_api.address_of_view(one) not in addresses))
        addresses.add(private_api.address_of_view(names[-1]))
    return names


def _save_code_views(dataset: Any, session: ReviewSession) -> None:
    findings = [session.findings[n] for n in session.order]
    counts = Counter((finding.code, finding.name) for finding in sorted(findings, key=severity_key))
    about_images = {finding.code for finding in findings if finding.block != ANNOTATIONS}
    names = view_names([f"{code} {name}" for code, name in counts], dataset.list_saved_views())
    for ((code, _), number), view_name in zip(counts.items(), names, strict=True):
        view = dataset.match(ViewField("codes").contains(code)).sort_by(ViewField(f"scores.{code}"), reverse=True)
        if code not in about_images:
            view = view.filter_labels(ANNOTATIONS, ViewField("codes").contains(code))
        dataset.save_view(view_name, view, description=f"{number} findings, worst first")


def save_shared_view(dataset: Any, session: ReviewSession) -> None:
    """Save the view of a teammate's cases in their order; without shared cases, delete it."""
    if session.shared is not None:
        view = dataset.match(ViewField("shared") != "").exists("shared").sort_by("shared_order")
        by = f" (by {session.shared.by})" if session.shared.by else ""
        dataset.save_view(SHARED, view, description=as_stored(session.shared.title + by), overwrite=True)
    elif SHARED in dataset.list_saved_views():
        dataset.delete_saved_view(SHARED)
