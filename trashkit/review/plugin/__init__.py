"""The folder that FiftyOne looks for plugins in while a review runs."""
