"""What many requests share, and who gets it when: places, cores, turns."""
