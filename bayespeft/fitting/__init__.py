"""From a model, data and a method to a posterior."""
