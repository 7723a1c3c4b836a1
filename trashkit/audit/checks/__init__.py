"""The checks: one file per kind of defect, one function with `@check` per check. All files here are imported."""
