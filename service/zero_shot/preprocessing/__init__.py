"""Pictures and phrases -> what a model takes, equal to its own processor."""
