"""Text formats that several packages read, within bounds."""
