"""The Dash app: pages of charts over what the platform keeps. Reads only, and only what its user may see."""
