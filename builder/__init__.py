"""Offline: read, clean, learn, encode, validate. Import from the module that owns the thing."""
