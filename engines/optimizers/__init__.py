"""Training algorithms and learning-rate schedules on small problems whose answers are known."""
