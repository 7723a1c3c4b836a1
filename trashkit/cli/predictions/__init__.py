"""Commands for predictions: predict, ensemble, presence, postprocess, export, sheets."""
