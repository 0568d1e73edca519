"""The site: who may do what, what is asked for, what came of it, and how it is shown."""
