"""One upstream body on its way to one client."""
