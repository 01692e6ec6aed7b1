"""The scorecard: what a buyer asks of a service, measured on the buyer's own events."""
