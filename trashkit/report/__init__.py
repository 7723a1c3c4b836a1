"""Results for people to read: pictures, tables and HTML pages."""
