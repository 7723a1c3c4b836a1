"""The folder in which FiftyOne looks for plugins during a review."""
