"""Open-loop load: requests have moments at which they are due, and waiting counts from there."""
