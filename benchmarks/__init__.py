"""Where the figures of docs/performance.md come from; nothing here is a test."""
