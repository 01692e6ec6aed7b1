"""A node that follows a channel: its folder, and the process that keeps it up to date."""
