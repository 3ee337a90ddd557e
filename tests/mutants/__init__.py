"""What the tests are worth: defects that somebody might make, planted one at a time, and whether a test fails."""
