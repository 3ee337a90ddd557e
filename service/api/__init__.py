"""HTTP: knows Flask and pydantic, and nothing of torch."""
