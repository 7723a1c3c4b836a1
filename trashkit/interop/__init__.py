"""Import and export of other tools' annotation formats, import of predictions, and the TACO download."""
