"""What a neural matrix factorisation is: architecture, inference formula, likelihood, side features."""
