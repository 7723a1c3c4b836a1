"""The demo and the synthetic data set: generated scenes of trash with exact labels, planted errors and a test part."""
