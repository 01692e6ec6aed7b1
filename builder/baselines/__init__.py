"""Known methods, learned from the same history as ours and printed beside it in every report."""
