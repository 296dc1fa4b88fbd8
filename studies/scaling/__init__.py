"""The two parts of the study `gradient_scaling`, their figures and their sentences."""
