"""The front door: maps each verb onto a room, and knows nothing but names."""

__version__ = "0.1.0"
