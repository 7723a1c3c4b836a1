"""Which weights a run ends with: validation, smoothed scores, checkpoints on disk, and the choice among them."""
