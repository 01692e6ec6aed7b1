"""The node: what follows a channel and tells how it goes."""
