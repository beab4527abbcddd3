"""The cluster: what a site allows, and jobs on it."""
