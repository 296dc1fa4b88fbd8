"""Parts of the study `barren_plateau`."""
