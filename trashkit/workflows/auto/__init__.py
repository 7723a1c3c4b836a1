"""The whole job within a time budget: from labelled photos to a checked submission and a page about it."""
