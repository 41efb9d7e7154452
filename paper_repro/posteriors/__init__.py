"""Every posterior of the package on the same small tasks."""
