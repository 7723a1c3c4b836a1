"""Review of findings, in the FiftyOne App or on a static page: decisions go to the edit log as they are made.

FiftyOne only displays: it does not store annotations, and the annotation file is never changed. Only `fiftyone_app/`
imports FiftyOne.
"""
