"""Draw scenes of trash, with the outlines of their objects."""
