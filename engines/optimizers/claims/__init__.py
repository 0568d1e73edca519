"""What the published systems claim, and the runs that show it."""
