"""What another policy would have earned, estimated from a log of explored decisions.

In reading order:

    decisions   the log beside the other policy's probabilities
    reading     both from files
    rewards     a plain model of the reward, for those who bring none
    overlap     how much the log can say about that policy at all
    tuning      where to cut weights that are too large
    estimates   the estimators themselves, with intervals
"""
