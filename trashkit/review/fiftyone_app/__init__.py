"""The review in the FiftyOne App; only this package imports fiftyone."""
