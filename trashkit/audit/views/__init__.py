"""Views: what checks work on (fields, shapes, photos, predictions), each computed once and shared by the checks."""
