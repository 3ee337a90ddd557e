"""Odd, broken and hostile input made by code, and programs that send it to a running service."""
