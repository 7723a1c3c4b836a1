"""Commands for annotations: audit, fix, review, edits, data."""
