"""Smaller layers for a trained model: which form for which layer, under one budget, and the fit."""
