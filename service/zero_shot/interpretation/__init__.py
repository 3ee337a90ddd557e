"""How far a ranking is to be trusted, and what in the picture it rests on."""
