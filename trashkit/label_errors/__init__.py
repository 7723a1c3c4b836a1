"""Label errors found with predictions: which annotations are probably wrong, and which are missing."""
