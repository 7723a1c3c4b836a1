"""The embedded data set: scenes of trash drawn by code, with true labels, planted errors and a hidden test part."""
