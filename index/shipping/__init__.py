"""Shipping: how snapshots reach a fleet of nodes, and who may say what a node serves."""
