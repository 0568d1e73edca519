"""What is trained: data, model, loss and metrics."""
