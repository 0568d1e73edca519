"""Figure functions: pure, arrays in, plain dict out; tested without a browser."""
