"""One file per dashboard: its controls, its query, its figure function, its callbacks."""
