"""Shapes of other tools: outlines of boxes and ellipses, brush masks, and how annotations become shapes."""
