"""The built-in data set: pictures of emoji by four artists' groups and their names in about a hundred languages."""
