"""A whole collection: every picture of it looked at once, wherever the work stops and goes on."""
