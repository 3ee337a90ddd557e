"""Any IIIF URI -> the pictures behind it, each as the URL of the smallest size that serves the model."""
