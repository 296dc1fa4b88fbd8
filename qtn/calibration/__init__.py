"""What calibration data say about the layers of a model."""
