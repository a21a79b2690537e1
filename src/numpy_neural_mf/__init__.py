"""Neural matrix factorisation for ratings, from a neural network written by hand in NumPy."""
