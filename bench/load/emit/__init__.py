"""The same load as files for k6, vegeta and wrk2, for those who have these at hand.

Each gets the same requests in the same order. None of them takes moments one by one: k6 follows
lines between rates, vegeta and wrk2 hold one rate for a phase, and a replay becomes the mean rate
of each of its parts.
"""
