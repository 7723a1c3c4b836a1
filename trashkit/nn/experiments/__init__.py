"""Several runs and what surrounds them: folds, sweeps, soups, previews, profiles and suggested settings."""
