"""One result in the forms that people read: pictures, tables and pages."""
