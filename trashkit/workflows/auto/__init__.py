"""The whole job inside a budget of time: from labelled photos to a checked submission and a page about it."""
