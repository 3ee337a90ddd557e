"""Whole collections: every picture is processed once, however often the job stops and resumes."""
