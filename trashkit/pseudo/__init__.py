"""Pseudo-labelling: which labels to trust, who may make them, and the stages of training that use them. No torch."""
