"""What each picture format needs beyond what its library does."""
