"""An engine for tests: its methods do what no method should."""
