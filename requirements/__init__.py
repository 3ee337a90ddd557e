"""What the images install, with the hash of every file, and a look for known vulnerabilities in it."""
