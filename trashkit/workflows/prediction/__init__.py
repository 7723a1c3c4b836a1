"""Predictions from files to files: probabilities, overlays and class presence."""
