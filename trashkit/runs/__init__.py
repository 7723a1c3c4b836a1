"""Run folders: what a training writes about itself and where it came from."""
