"""Draws pictures of which the right phrase is known, and trains the demo CLIP model on them."""
