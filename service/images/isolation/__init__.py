"""Decoding in processes that can be killed, and that reach nothing."""
