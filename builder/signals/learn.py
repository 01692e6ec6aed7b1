"""The task that turns merged counts into the *globals*: one folder of arrays for one cut.

`LearnSignals(name_suffix, merged_dir, pair_dirs, vocabulary, settings)`: see `prior`, `context`, `affinity`, `vectors`
and `neighbours` for the files it writes.
"""
