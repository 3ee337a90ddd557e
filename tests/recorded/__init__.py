"""The whole answers of one commit to some hundred requests, to be compared with those of another."""
