"""What else could answer: services to measure ourselves against, as their teams write them."""
