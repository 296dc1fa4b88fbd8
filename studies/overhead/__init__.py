"""Parts of the study `measurement_overhead`."""
