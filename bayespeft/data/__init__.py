"""Data in any of the accepted forms, as `Examples`."""
