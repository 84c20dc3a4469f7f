"""Whether everything that is to be seen is seen."""
