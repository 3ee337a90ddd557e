"""Answers as documents that museums' systems read: annotation pages, Linked Art, and tables for import."""
