"""Scores with uncertainty: compare predictions, record submissions, and estimate the hidden score."""
