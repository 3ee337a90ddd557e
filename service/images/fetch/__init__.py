"""A URL -> the bytes behind it, from an address that was vetted."""
