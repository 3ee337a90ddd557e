"""The HTTP front: gunicorn, and what makes it hold slow callers, refuse early, hand over and end."""
