"""Utility commands: demo, doctor."""
