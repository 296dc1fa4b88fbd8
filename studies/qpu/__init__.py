"""Parts of the study `qpu_gradients`."""
