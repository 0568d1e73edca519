"""Search and decisions: samplers of sweeps, and the problems on which they are compared."""
