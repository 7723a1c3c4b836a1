"""One file per kind of defect; each check is one function with `@check`, found by its presence here."""
