"""Tools of the repository, not part of the package: what is done once for a release."""
