"""What is read of a record is also checked when its file is read, so that a damaged file is one line and no crash."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from trashkit.leaderboard import ledger
from trashkit.pseudo import record
from trashkit.runs import manifest, metrics
from trashkit.submit import notes

PAIRS: tuple[tuple[Any, Any], ...] = (
    (manifest.Manifest, manifest.ManifestForm),
    (manifest.Scores, manifest._Scores),
    (manifest.Candidate, manifest._Candidate),
    (manifest.CheckpointChoice, manifest._Choice),
    (manifest.RunInputs, manifest._Inputs),
    (manifest.LabelMapInput, manifest._LabelMaps),
    (manifest.DeviceEntry, manifest._Device),
    (manifest.Ingredient, manifest._Ingredient),
    (metrics.EpochRow, metrics._RowForm),
    (record.StudentRecord, record._RunForm),
    (record.GroupRecord, record._GroupForm),
    (notes.SubmissionNote, notes._NoteForm),
    (notes.Voter, notes._VoterForm),
    (ledger.RunReference, ledger._RunForm),
    (ledger.SplitReference, ledger._SplitForm),
    (ledger.EvidenceFile, ledger._EvidenceForm),
    (ledger.ValidationRecord, ledger._ValidationForm),
)


@pytest.mark.parametrize(("record", "form"), PAIRS, ids=[one.__name__ for one, _ in PAIRS])
def test_a_form_checks_each_field_of_its_record(record: Any, form: Any) -> None:
    missing = set(get_type_hints(record)) - set(get_type_hints(form))
    assert not missing, f"{form.__name__} must check these, too: {sorted(missing)}"
