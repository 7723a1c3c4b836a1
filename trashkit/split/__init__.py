"""Which images are trained on and which are validated on: search, report, check, export."""
