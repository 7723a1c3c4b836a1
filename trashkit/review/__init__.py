"""Review: findings in, decisions out, in the FiftyOne App or on a page of its own.

FiftyOne shows; it never stores geometry. Every decision goes to the edit log as it is made, and the annotation file is
only ever read. Nothing here imports FiftyOne until the App is asked for.
"""
