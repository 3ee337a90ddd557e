"""The served lists as a reconciliation service, which OpenRefine asks."""
