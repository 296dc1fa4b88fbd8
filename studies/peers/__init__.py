"""How other toolkits are driven, and how their gradients are timed beside ours."""
