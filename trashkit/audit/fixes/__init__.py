"""Fixes: geometry repairs, one fix function per check, and the run that applies them to a file."""
