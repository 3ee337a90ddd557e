"""Scripts that run in a peer's own environment, with what that environment has and nothing else."""
