"""Settings of a training run, and the recipes in the package."""
