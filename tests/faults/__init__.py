"""Every fault that the service must survive, on a real server, in a network of its own."""
