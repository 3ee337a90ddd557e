"""Bytes or a URL -> one bounded, upright RGB image; knows nothing of models."""
