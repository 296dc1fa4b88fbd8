"""Parts of the study `compression`."""
